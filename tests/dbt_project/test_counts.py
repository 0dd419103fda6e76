"""A run of counts has the load of a run with events, and nothing that counts do not tell."""

from contextlib import closing
from itertools import combinations

import duckdb
import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from gatehouse.reports.marts import resolve_run, run_loads
from gatehouse.reports.page.payload import Links
from gatehouse.reports.page.report import render
from gatehouse.reports.results.comparison import compare
from gatehouse.reports.results.files import write_validation
from gatehouse.reports.results.results import open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.reports.results.sweep import sweep
from gatehouse.reports.verdict.thresholds import DEFAULT
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.upkeep.agreement import disagreements
from tests.dbt_project.random_lake import land
from tests.dbt_project.random_runs import RUNS_TO_LAND
from tests.dbt_project.test_untold_results import bar
from tests.reports.page.parsed_page import Page

WITH_EVENTS, COUNTED = "ids-only", "counted"
"""The same routing, in which neither order nor weights are known."""

BALANCE = (
    "num_experts",
    "max_load_ratio",
    "max_violation",
    "load_variation",
    "jain_index",
    "dead_experts",
)


def rows_of(connection: duckdb.DuckDBPyConnection, mart: str, run_id: str, columns: str = "*"):
    query = f"select {columns} from {mart} where run_id = $1 order by all"  # noqa: S608 - a mart
    return connection.execute(query, [run_id]).df().drop(columns="run_id", errors="ignore")


@pytest.mark.parametrize("mart", ["fct_expert_load", "fct_expert_coverage"])
def test_load_and_coverage_are_those_of_the_events(connection, mart):
    counted = rows_of(connection, mart, COUNTED)
    assert len(counted) and not counted.duplicated(["layer", counted.columns[1]]).any()
    assert_frame_equal(counted, rows_of(connection, mart, WITH_EVENTS))


def test_balance_is_that_of_the_events_and_all_else_is_null(connection):
    found = rows_of(connection, "fct_layer_routing", COUNTED)
    columns = ", ".join(("layer", "moe_index", *BALANCE))
    expected = rows_of(connection, "fct_layer_routing", WITH_EVENTS, columns)
    assert_frame_equal(found[list(expected.columns)], expected)
    assert found.drop(columns=expected.columns).isna().all(axis=None)


def test_no_other_mart_has_rows_of_it(connection):
    tables = connection.execute(
        "select table_name from duckdb_columns() where column_name in ('run_id', 'other_run_id')"
        " and starts_with(table_name, 'fct_')"
    ).fetchall()
    having = {mart for (mart,) in tables if len(rows_of(connection, mart, COUNTED))}
    assert having == {
        *("fct_expert_load", "fct_expert_coverage", "fct_layer_routing", "fct_load_comparison"),
        *("fct_expert_saliency", "fct_run_trend"),
    }


def test_loads_are_compared_where_text_or_model_is_shared(connection):
    """Recomputed from the loads, of the pairs of fct_run_comparison and of those with counts."""
    runs = connection.table("dim_run").df().sort_values(["started_at", "run_id"])
    loads = connection.table("fct_expert_load").df().set_index(["run_id", "layer", "moe_index"])
    of_one_text = connection.table("fct_run_comparison").df()[["run_id", "other_run_id"]]
    pairs = set(of_one_text.itertuples(index=False, name=None))
    for one, other in combinations(runs.itertuples(), 2):
        if "counts" in (one.source, other.source) and one.model == other.model:
            pairs.add((one.run_id, other.run_id))
    expected = {}
    for one, other in pairs:
        for layer, moe_index in set(loads.loc[one].index) & set(loads.loc[other].index):
            here, there = (loads.loc[(run, layer, moe_index)] for run in (one, other))
            if len(here) != len(there):
                continue
            here, there = (
                each.sort_values("expert")["load_share"].to_numpy() for each in (here, there)
            )
            flat = not (here.std() > 1e-12 and there.std() > 1e-12)
            expected[one, other, layer] = (
                np.minimum(here, there).sum(),
                np.nan if flat else np.corrcoef(here, there)[0, 1],
                ((here == 0) & (there == 0)).sum(),
                ((here == 0) != (there == 0)).sum(),
            )
    found = connection.table("fct_load_comparison").df()
    columns = ["shared_load", "load_correlation", "dead_in_both", "dead_in_one"]
    by_key = found.set_index(["run_id", "other_run_id", "layer"])[columns]
    assert set(by_key.index) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(by_key.loc[key].astype(float), values, rtol=1e-9, atol=1e-12)
    of_counts = found[(found["run_id"] == COUNTED) | (found["other_run_id"] == COUNTED)]
    assert 0 < len(of_counts) < len(found)
    assert (found["shared_load"] < 0.99).any()


def test_what_a_run_of_counts_does_not_hold_is_null(connection):
    facts = "source, shards, moe_layers, has_token_ids, samples, tokens, events"
    query = f"select {facts} from dim_run where run_id = $1"  # noqa: S608 - facts of a run
    found = connection.execute(query, [COUNTED]).fetchall()
    assert found == [("counts", 0, 2, False, None, None, None)]


def test_the_loads_are_compared_with_the_counts(connection):
    """A run with events has no counts to agree with."""
    assert disagreements(connection, {}, [COUNTED]) == {COUNTED: []}
    (sentence,) = disagreements(connection, {}, [WITH_EVENTS])[WITH_EVENTS]
    assert "load in fct_expert_load" in sentence


def test_counts_are_shown_where_they_are_named(connection):
    assert resolve_run(connection, None) != COUNTED
    assert resolve_run(connection, COUNTED) == COUNTED


def test_a_run_of_counts_has_a_page_and_no_verdict(built, tmp_path):
    results = open_results(Selection(run_id=COUNTED), Paths(built.home), bar)
    page = Page(render(results.of_run, Links()))
    assert "The trace (counts) has no events, no entropy" in page.words
    assert all(word not in page.words for word in ("NaN", "nan", "None", "undefined"))
    assert page.data["load"]["ratio"]["data"] and "repetition" not in page.data
    with pytest.raises(GatehouseError, match=f"{COUNTED} has no events, .* nothing to validate"):
        write_validation(results, tmp_path / "mine")
    assert not list(tmp_path.iterdir())


def test_a_run_of_counts_is_compared_by_its_loads(built, tmp_path):
    pair, target = (COUNTED, WITH_EVENTS), tmp_path / "both.html"
    page, (sentence,) = compare(pair, DEFAULT, Paths(built.home), bar, target)
    common = Page(page.read_text(encoding="utf-8")).data["pairs"]["0-1"]
    assert common["loads"]["shared_load"] == [1, 1] and "overlap" not in common
    assert sentence.startswith(
        "on average over 2 layers, 100.0% of the load is on the same experts"
    )


def test_the_loads_of_a_pair_are_the_same_from_either_run(connection):
    loads, same = (
        run_loads(connection, *pair).by_layer
        for pair in ((COUNTED, WITH_EVENTS), (WITH_EVENTS, COUNTED))
    )
    assert_frame_equal(loads, same)
    assert loads["shared_load"].round(9).eq(1).all() and loads["dead_in_one"].eq(0).all()


def test_a_lake_may_hold_nothing_but_counts(make_project, tmp_path):
    """No events, samples and shards are there to be read."""
    project = make_project(tmp_path / "it's [a] home")
    (counted,) = [run for run in RUNS_TO_LAND if run.only_counts]
    land(project.lake, counted)
    outcome = project.dbt("run", "--select", "+fct_layer_routing", "+dim_run", "+stg_events")
    wrong = [node.message for node in outcome.result if node.status in ("error", "fail")]
    assert outcome.success, wrong
    with closing(duckdb.connect(str(project.database), read_only=True)) as connection:
        assert len(rows_of(connection, "fct_layer_routing", COUNTED)) == 2
        assert not connection.table("events").fetchall()
        assert resolve_run(connection, None) == COUNTED
    with pytest.raises(GatehouseError, match="no run tells what a verdict needs"):
        sweep(None, None, Paths(project.home), bar, tmp_path / "sweep.csv")
