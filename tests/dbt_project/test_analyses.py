"""The library of example queries: every one runs, is described, and answers what it asks."""

import re
from contextlib import closing

import pandas as pd
import pytest
import yaml

from gatehouse.flows.sql.examples import ANALYSES, library
from gatehouse.warehouse.connect import connect, relations
from gatehouse.warehouse.paths import Paths

EXAMPLES = library()
LATEST_RUN = """with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),
"""


@pytest.fixture(scope="module")
def connection(built):
    with closing(connect(Paths(built.home))) as opened:
        yield opened


def result(connection, name: str) -> pd.DataFrame:
    return EXAMPLES[name].run(connection).to_arrow_table().to_pandas()


def latest(connection, mart: str) -> pd.DataFrame:
    """Return a mart's rows of the run that finished last."""
    frame = connection.table(mart).to_arrow_table().to_pandas()
    runs = connection.table("dim_run").to_arrow_table().to_pandas()
    return frame[frame["run_id"] == runs.sort_values(["finished_at", "run_id"])["run_id"].iloc[-1]]


def test_every_file_is_described_and_every_description_has_a_file():
    described = yaml.safe_load((ANALYSES / "analyses.yml").read_text())["analyses"]
    assert sorted(each["name"] for each in described) == sorted(
        path.stem for path in ANALYSES.glob("*.sql")
    )
    assert len(EXAMPLES) == len(described) >= 20


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_it_asks_and_holds_only_references(name):
    example = EXAMPLES[name]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
    assert example.question.endswith("?") and len(example.description) > len(example.question)
    assert not re.search(r"\{\{|\{%|\{#|\b(stg|int)_", example.sql), example.sql
    final = example.template.partition("\nfinal as (")[2]
    assert example.template.startswith(LATEST_RUN) or "        run_id,\n" in final


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_on_the_built_warehouse(connection, name):
    found = result(connection, name)
    assert len(found.columns) >= 2
    named = set(re.findall(r"ref\('(?:stg_)?(\w+)'\)", EXAMPLES[name].template))
    assert named <= set(relations(connection))


def test_correlations_are_spearman_s(connection):
    from scipy.stats import spearmanr

    tokens = latest(connection, "fct_token_routing")
    tokens = tokens[(tokens["frequency"] >= 20) & ~tokens["is_special"].astype(bool)]
    found = result(connection, "do_frequent_tokens_route_with_low_entropy").set_index("layer")
    assert len(found) > 0
    for layer, group in tokens.groupby("layer"):
        row = found.loc[layer]
        assert row["tokens"] == len(group)
        for column, measure in {
            "frequency_entropy_correlation": "mean_entropy",
            "frequency_consistency_correlation": "routing_consistency",
        }.items():
            expected = spearmanr(group["frequency"], group[measure]).statistic
            assert row[column] == pytest.approx(expected, abs=5.1e-4, nan_ok=True)


def test_frequency_classes_hold_every_token_once(connection):
    tokens = latest(connection, "fct_token_routing")
    found = result(connection, "how_does_entropy_change_with_frequency")
    for layer, group in tokens.groupby("layer"):
        rows = found[found["layer"] == layer]
        assert rows["tokens"].sum() == len(group)
        for row in rows.itertuples():
            inside = group[group["frequency"].between(row.frequency_from, row.frequency_to)]
            expected = (inside["mean_entropy"] * inside["frequency"]).sum()
            assert len(inside) == row.tokens
            assert row.mean_entropy == pytest.approx(expected / inside["frequency"].sum(), abs=6e-4)


def test_the_tokens_that_make_up_the_text_are_the_most_frequent(connection):
    counts = latest(connection, "fct_frequency_rank")["frequency"].sort_values(ascending=False)
    shares = counts.cumsum() / counts.sum()
    found = result(connection, "how_many_tokens_make_up_the_text")
    assert len(found) == 6
    for part, needed in zip(found["part_of_the_text"].astype(float), found["tokens_needed"]):
        assert shares.iloc[needed - 1] >= part - 1e-12
        assert needed == 1 or shares.iloc[needed - 2] < part


def test_loads_of_the_same_routing_are_alike_and_of_another_are_less(connection):
    """One of the runs has only counts."""
    found = result(connection, "how_alike_are_two_runs_loads")
    pairs = found.groupby(["run_id", "other_run_id"])[["shared_load", "dead_in_one"]]
    same, other = pairs.get_group(("ids-only", "counted")), pairs.get_group(("counted", "new"))
    assert (same == [1, 0]).all(axis=None) and (other["shared_load"] < 1).all()
