"""A run of counts has the load of a run with events, and nothing that counts do not tell."""

from contextlib import closing

import duckdb
import pytest
from pandas.testing import assert_frame_equal

from gatehouse.reports.marts import resolve_run
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.upkeep.agreement import disagreements
from tests.dbt_project.random_lake import land
from tests.dbt_project.random_runs import RUNS_TO_LAND

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
    assert having == {"fct_expert_load", "fct_expert_coverage", "fct_layer_routing"}


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
    outcome = project.dbt("run", "--select", "+fct_layer_routing", "+stg_events")
    wrong = [node.message for node in outcome.result if node.status in ("error", "fail")]
    assert outcome.success, wrong
    with closing(duckdb.connect(str(project.database), read_only=True)) as connection:
        assert len(rows_of(connection, "fct_layer_routing", COUNTED)) == 2
        assert not connection.table("events").fetchall()
