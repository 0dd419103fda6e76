"""The engines of `make bench-warehouse` give the same answer as `fct_token_routing`."""

import duckdb
import pytest

from tests.bench.build import downstream_of_events
from tests.bench.peers import ENGINES, FLOOR, PACKAGES, answer
from tests.bench.statistics import EXACT, NOT_IN_FLOOR, ROUNDED, disagreements


@pytest.mark.parametrize("run_id", ["0042", "wide"])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_agrees_with_the_mart(engine, run_id, built, connection):
    pytest.importorskip(PACKAGES[engine])
    rows = connection.table("fct_token_routing").filter(
        duckdb.ColumnExpression("run_id") == duckdb.ConstantExpression(run_id)
    )
    ours = rows.select(*EXACT, *ROUNDED).to_arrow_table()
    assert ours.num_rows > 50
    asked = ours.drop_columns(NOT_IN_FLOOR) if engine == FLOOR else ours
    assert disagreements(asked, answer(engine, built.lake, run_id)) == []


def test_the_statistics_that_are_timed_read_events_and_end_in_the_mart(built):
    timed = {name.split(".")[-1] for name in downstream_of_events(built.target)}
    assert {"int_token_expert_routing", "stg_whole_run_events", "fct_token_routing"} <= timed
    assert not timed & {"dim_token", "dim_layer", "stg_runs", "stg_vocabulary"}
