"""A lookup table of a few hand-made events, and what its file says."""

import json
from contextlib import closing

import duckdb
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from gatehouse.reports.exports.lookup_table import write_lookup_table
from gatehouse.reports.exports.table_rule import rule_of

RULE = {"min_share": 0.6, "min_frequency": 2}
TABLES = """
    create table dim_run as
    select 'r' as run_id, 'm' as model, null as model_fingerprint, 'capture' as source,
        true as has_token_ids;
    create table stg_runs as select 'r' as run_id, 7 as run_key;
    create table dim_layer as select 'r' as run_id, *, 3 as num_experts, 2 as top_k,
        true as has_weights, true as has_distribution
    from (values (1, 1, 0, 'layers.1.gate'), (2, 2, 1, 'layers.2.gate'))
        as layers (layer, block, moe_index, router_path);
    create table samples as select 'r' as run_id, *
    from (values (0, 'train'), (1, 'test')) as samples (sample_id, split);
    create table events as select 'r' as run_id, * from (values
        (0, 0, 4, 1, [2, 0], [0.75, 0.25]), (0, 1, 4, 1, [0, 2], [0.75, 0.25]),
        (0, 2, 4, 1, [1, 0], [0.875, 0.125]),
        (0, 3, 5, 1, [1, 0], [0.5, 0.5]),
        (1, 0, 4, 1, [1, 0], [0.5, 0.5]), (1, 1, 9, 1, [1, 0], [0.5, 0.5]),
        (1, 2, 4, 1, [2, 1], [0.5, 0.5])
    ) as events (sample_id, position, token_id, layer, experts, weights);
    insert into events
    select run_id, sample_id, position, token_id, 2, [1, 2], [1.5, 0.5] from events;
    create table int_fast_path_table as select 7 as run_key, * from (values
        (1, 4, 2 / 3, 3, 5e-1, 1), (1, 5, 1.0, 1, 5e-1, 2), (2, 4, 1.0, 3, 9e-1, 1),
        (2, 5, 1.0, 1, 9e-1, 2)
    ) as tokens (
        layer, token_id, set_share, train_frequency, train_mean_entropy, frequency_rank
    );
    create table fct_replay (
        run_id varchar, policy_id varchar, documents bigint, tokens bigint, delta_nll double,
        perplexity_ratio double
    );
"""


@pytest.fixture
def connection():
    with closing(duckdb.connect()) as opened:
        opened.execute(TABLES)
        yield opened


def metadata_of(path) -> dict[str, str]:
    with safe_open(path, "np") as file:
        return file.metadata()


def test_the_entry_is_of_the_greatest_mean_weight_not_of_the_most_frequent_set(
    connection, tmp_path
):
    """Token 4: experts 0, 1, 2 have 1.125, 0.875, 1 of 3 in layer 0, its sets 0 and 2 two of 3."""
    write_lookup_table(connection, "r", tmp_path / "x", **RULE)
    found = load_file(tmp_path / "x")
    assert found["mask"].nonzero()[0].tolist() == [4, 4] and found["ids"].shape == (6, 2, 2)
    assert found["ids"][4].tolist() == [[0, 2], [1, 2]]
    weights = [[1.125 / 2.125, 1 / 2.125], [1.5, 0.5]]
    np.testing.assert_allclose(found["weights"][4], weights, rtol=1e-6)


def test_held_out_text_says_how_much_is_covered_and_how_much_agrees(connection, tmp_path):
    """Of three tokens the table knows two, in both layers; both agree in the second."""
    write_lookup_table(connection, "r", tmp_path / "x", **RULE)
    found = {
        name: json.loads(value)
        for name, value in metadata_of(tmp_path / "x").items()
        if name.endswith(("occurrences", "coverage", "agreement"))
    }
    assert found == {
        "held_out_occurrences": 6,
        "covered_occurrences": 4,
        "agreed_occurrences": 2,
        "coverage": 4 / 6,
        "set_agreement": 0.5,
    }


@pytest.mark.parametrize(
    ("options", "known"),
    [
        (RULE | {"min_share": 0.7}, [(4, 1)]),
        (RULE | {"min_frequency": 1}, [(4, 0), (4, 1), (5, 0), (5, 1)]),
        ({"min_share": 1.0, "min_frequency": 1}, [(4, 1), (5, 0), (5, 1)]),
        ({"entropy_threshold": 0.9, "frequency_threshold": 0}, [(4, 0), (5, 0)]),
        ({"entropy_threshold": 0.91, "frequency_threshold": 1}, [(4, 0), (4, 1)]),
        ({"most_frequent": 1}, [(4, 0), (4, 1)]),
    ],
)
def test_a_rule_says_which_tokens_have_entries(connection, tmp_path, options, known):
    write_lookup_table(connection, "r", tmp_path / "x", **options)
    mask = load_file(tmp_path / "x")["mask"]
    assert [tuple(each) for each in np.argwhere(mask).tolist()] == known


def test_the_file_says_what_the_table_cost_once_it_was_replayed(connection, tmp_path):
    write_lookup_table(connection, "r", tmp_path / "x", **RULE)
    before = metadata_of(tmp_path / "x")
    values = ["r", rule_of(**RULE).policy_id, 12, 345, -0.001, 0.999]
    connection.execute("insert into fct_replay values ($1, $2, $3, $4, $5, $6)", values)
    connection.execute("insert into fct_replay values ('r', 'another', 1, 1, 1.0, 2.7)")
    write_lookup_table(connection, "r", tmp_path / "x", **RULE)
    after = metadata_of(tmp_path / "x")
    assert {name: json.loads(after[name]) for name in after.keys() - before.keys()} == {
        "replayed_documents": 12,
        "replayed_tokens": 345,
        "delta_nll": -0.001,
        "perplexity_ratio": 0.999,
    }
    assert before.items() <= after.items()


def test_without_other_text_nothing_is_said_of_it(connection, tmp_path):
    connection.execute("delete from events where sample_id = 1")
    write_lookup_table(connection, "r", tmp_path / "x", **RULE)
    found = metadata_of(tmp_path / "x")
    assert found["coverage"] == found["set_agreement"] == "null"
