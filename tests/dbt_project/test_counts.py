"""A run of counts has the load of a run with events, and nothing that counts do not tell."""

from contextlib import closing
from itertools import combinations

import duckdb
import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from gatehouse.reports.marts import resolve_run
from gatehouse.reports.results.sweep import sweep
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.upkeep.agreement import disagreements
from tests.dbt_project.random_lake import land
from tests.dbt_project.random_runs import RUNS_TO_LAND
from tests.dbt_project.test_untold_results import bar

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


def test_a_run_of_counts_is_not_what_a_report_is_of(connection):
    assert resolve_run(connection, None) != COUNTED
    with pytest.raises(GatehouseError, match="only counts of its experts: ask fct_expert_load"):
        resolve_run(connection, COUNTED)


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
    with pytest.raises(GatehouseError, match=f"{COUNTED} has only counts of its experts"):
        sweep(None, None, Paths(project.home), bar, tmp_path / "sweep.csv")
