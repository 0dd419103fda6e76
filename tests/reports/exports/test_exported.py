"""What exports hold at their limits; a run that a format cannot hold is refused in one line."""

import json
from contextlib import closing
from functools import partial

import duckdb
import pytest
import torch

from gatehouse.reports.exports.data_set import write_data_set
from gatehouse.reports.exports.events import write_arrow_file, write_arrow_stream, write_events
from gatehouse.reports.exports.fine_tuning import write_esft
from gatehouse.reports.exports.keep_list import write_keep_list
from gatehouse.reports.exports.loads import (
    write_count_tensor,
    write_counts,
    write_logical_counts,
)
from gatehouse.reports.exports.lookup_table import write_lookup_table
from gatehouse.reports.exports.rollouts import write_rollouts
from gatehouse.warehouse.errors import GatehouseError

TABLES = """
    create table dim_layer as
    select *, 'layers.0.gate' as router_path, run_id <> 'untold' as has_distribution from (values
        ('two stacks', 0, 0, 0, 1, 1, true, null), ('two stacks', 1, 0, 1, 1, 1, true, null),
        ('uneven', 0, 0, 0, 1, 1, true, null), ('uneven', 1, 1, 1, 2, 2, true, null),
        ('sparse', 1, 1, 0, 9, 2, true, null), ('sparse', 3, 3, 1, 9, 2, true, null),
        ('tokenless', 0, 0, 0, 2, 1, false, null), ('normed', 2, 2, 0, 3, 1, true, true),
        ('weightless', 0, 0, 0, 2, 1, false, null), ('untold', 0, 0, 0, 2, 1, true, null),
        ('counted', 0, 0, 0, 2, 1, false, null)
    ) as layers (
        run_id, layer, block, moe_index, num_experts, top_k, has_weights, has_output_norms
    );
    create table fct_expert_load as select *, selections as load, cast(null as double) as gate_mass,
        0.0 as selection_share_before
    from (values
        ('two stacks', 0, 0, 0, 1), ('two stacks', 1, 1, 0, 1),
        ('uneven', 0, 0, 0, 1), ('uneven', 1, 1, 0, 1), ('uneven', 1, 1, 1, 1),
        ('tokenless', 0, 0, 0, 2), ('tokenless', 0, 0, 1, 3)
    ) as loads (run_id, layer, moe_index, expert, selections);
    create table fct_expert_saliency as
    select * exclude (selection_share_before), cast(null as double) as reap from fct_expert_load
    union all
    select * from (values
        ('normed', 2, 0, 0, 9, 9, 5.0, 0.1), ('normed', 2, 0, 1, 0, 0, 0.0, null),
        ('normed', 2, 0, 2, 1, 1, 0.5, 0.7)
    );
    create table events (
        run_id varchar, sample_id bigint, position uinteger, token_id integer, layer smallint,
        experts usmallint[]
    );
    insert into events values
        ('two stacks', 0, 0, 5, 0, [0]), ('two stacks', 0, 0, 5, 1, [0]),
        ('uneven', 0, 0, 5, 0, [0]), ('uneven', 0, 0, 5, 1, [0, 1]),
        ('tokenless', 0, 0, null, 0, [1]);
    create table dim_run as select *, 'm' as model, null as model_fingerprint from (values
        ('two stacks', true, 4, 'capture'), ('uneven', true, 4, 'capture'),
        ('sparse', true, 4, 'capture'), ('tokenless', false, 4, 'warp'),
        ('weightless', true, 4, 'warp'), ('untold', true, 4, 'warp'),
        ('counted', false, 4, 'counts')
    ) as runs (run_id, has_token_ids, max_length, source);
    create table dim_sample (
        run_id varchar, sample_id bigint, document_sha256 varchar, split varchar, tokens integer,
        prompt_tokens integer
    );
    create table int_fast_path_table (
        run_key varchar, layer integer, token_id integer, set_share double,
        train_frequency bigint, train_mean_entropy double, frequency_rank bigint
    );
    create table stg_runs as select run_id, run_id as run_key from dim_run;
"""


@pytest.fixture
def connection():
    with closing(duckdb.connect()) as opened:
        opened.execute(TABLES)
        yield opened


def test_esft_trains_the_experts_before_the_limit(tmp_path):
    """The one with which the share is reached is the last."""
    before = [0.1256, None, 0.2, 0.0, 0.1667, 0.232]
    with closing(duckdb.connect()) as connection:
        connection.execute("create table dim_layer as select 'r' run_id, 0 layer, 3 block")
        connection.execute(
            "create table fct_expert_load as select 'r' run_id, 0 layer, "
            "unnest(range(len($1))) expert, unnest($1) selection_share_before",
            [before],
        )
        write_esft(connection, "r", tmp_path / "x")
    assert json.loads((tmp_path / "x").read_text())["experts"] == {"3": [3, 0, 4]}


def rolled_out(connection, samples: dict[int, tuple[str, int, int]], folder) -> list[dict]:
    """Return the rollouts of a run of samples: document, tokens, prompt tokens; layers 1 and 3."""
    for sample, (document, tokens, prompt) in samples.items():
        connection.execute(
            "insert into dim_sample values ('sparse', $1, $2, 'train', $3, $4)",
            [sample, document, tokens, prompt],
        )
        connection.execute(
            "insert into events select 'sparse', $1, position, 10 * $1 + position, layer, "
            "[layer, (layer + position) % 9] from range($2) as positions (position), "
            "(values (3), (1)) as layers (layer)",
            [sample, tokens],
        )
    write_rollouts(connection, "sparse", folder / "x.pt")
    return torch.load(folder / "x.pt", weights_only=True)["samples"]


@pytest.mark.parametrize(("keep", "kept"), [("1", [2]), ("2", [0, 2]), ("3", [0, 1, 2])])
def test_with_norms_experts_are_kept_by_reap_the_unused_last(connection, tmp_path, keep, kept):
    write_keep_list(connection, "normed", tmp_path / "x", keep)
    found = json.loads((tmp_path / "x").read_text())
    assert (found["by"], found["layers"], found["keep"]) == ("reap", [2], [kept])


def test_blocks_without_experts_are_zero_in_rollouts(connection, tmp_path):
    (found,) = rolled_out(connection, {7: ("a", 3, 3)}, tmp_path)
    assert found["tokens"] == [70, 71, 72] and found["response_length"] == 0
    assert found["rollout_routed_experts"].tolist() == [
        [[0, 0], [1, 1], [0, 0], [3, 3]],
        [[0, 0], [1, 2], [0, 0], [3, 4]],
    ]


def test_what_the_model_read_on_its_own_is_a_rollout(connection, tmp_path):
    """Windows of at most 4 tokens; the last one of sample 2 has one, which has no routing."""
    samples = {1: ("b", 6, 6), 2: ("a", 5, 5), 3: ("b", 2, 2)}
    found = rolled_out(connection, samples, tmp_path)
    assert [each["tokens"] for each in found] == [
        *([10, 11, 12, 13], [14, 15]),
        *([20, 21, 22, 23], [30, 31]),
    ]
    assert [len(each["rollout_routed_experts"]) for each in found] == [3, 1, 3, 1]
    assert [each["group_index"] for each in found] == [1, 1, 0, 1]
    assert [each["index"] for each in found] == [0, 1, 2, 3]


def test_what_the_model_wrote_is_the_response(connection, tmp_path):
    first, second = rolled_out(connection, {1: ("a", 4, 1), 2: ("a", 4, 4)}, tmp_path)
    assert (first["response_length"], second["response_length"]) == (3, 0)


def test_without_weights_experts_are_kept_by_load(connection, tmp_path):
    write_keep_list(connection, "tokenless", tmp_path / "x", "1")
    found = json.loads((tmp_path / "x").read_text())
    assert found == {
        "k": 1,
        "layers": [0],
        "keep": [[1]],
        "num_experts": 2,
        "by": "load",
        "run_id": "tokenless",
    }


def test_blocks_without_experts_are_zero_in_a_count_tensor(connection, tmp_path):
    connection.execute(
        "insert into fct_expert_load values ('sparse', 1, 0, 0, 5, 5, 1, 0), "
        "('sparse', 3, 1, 0, 7, 7, 1, 0)"
    )
    write_count_tensor(connection, "sparse", tmp_path / "x")
    found = torch.load(tmp_path / "x", weights_only=True)["logical_count"]
    assert found.dtype == torch.int64 and found.tolist() == [[[0], [5], [0], [7]]]


@pytest.mark.parametrize(
    ("write", "run_id", "said"),
    [
        (write_counts, "uneven", "1 to 2 experts, and this format is one matrix: query"),
        (write_logical_counts, "two stacks", "one layer a block: use --to counts"),
        (write_count_tensor, "two stacks", "one layer a block: use --to counts"),
        (write_esft, "two stacks", "ESFT has one layer a block: query"),
        (partial(write_keep_list, keep="1"), "two stacks", "as many of each block: query fct_exp"),
        (partial(write_keep_list, keep="1"), "uneven", "as many of each block: query fct_expert"),
        (write_rollouts, "two stacks", "and rollouts one array: use --to events"),
        (write_rollouts, "uneven", "and rollouts one array: use --to events"),
        (write_rollouts, "tokenless", "no token ids, which rollouts have: use --to events"),
        (write_rollouts, "counted", "no events, only counts of experts: use --to counts"),
        (write_events, "counted", "no events, only counts of experts: use --to counts"),
        (write_arrow_file, "counted", "no events, only counts of experts: use --to counts"),
        (write_arrow_stream, "counted", "no events, only counts of experts: use --to counts"),
        (write_lookup_table, "counted", "no events, only counts of experts: use --to counts"),
        (write_lookup_table, "tokenless", "no token ids, which a lookup table holds: capture"),
        (write_lookup_table, "weightless", "no weights of the experts, which a lookup table holds"),
        (write_lookup_table, "uneven", "and a lookup table one k: use --to events"),
        (write_lookup_table, "sparse", "no text in the train split, of which the table is made"),
        (partial(write_lookup_table, entropy_threshold=1.0), "untold", "choose by --min-share or"),
        (write_data_set, "counted", "no events, only counts of experts: use --to counts"),
    ],
)
def test_what_a_format_cannot_hold(connection, write, run_id, said, tmp_path):
    with pytest.raises(GatehouseError, match=said):
        write(connection, run_id, tmp_path / "x")
