"""A database that was cut or altered is found out, wherever the damage lies."""

import os
from contextlib import closing

import duckdb
import pytest

from gatehouse.flows.upkeep import verify
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.remembered.verified import Subject
from gatehouse.warehouse.upkeep.agreement import unreadable_tables
from gatehouse.warehouse.upkeep.health import BUILD


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "gatehouse.duckdb"
    with duckdb.connect(str(path)) as writer:
        for name in ("dim_run", "fct_first", "fct_second"):
            writer.from_query("select hash(range) as n from range(60_000)").create(name)
    return path.read_bytes()


@pytest.mark.parametrize("part", [3, 20, 50, 80, 97])
@pytest.mark.parametrize("damage", ["cut", "altered"])
def test_a_damaged_database_is_a_problem_that_a_build_mends(content, tmp_path, part, damage):
    paths = Paths(tmp_path)
    paths.database.write_bytes(content)
    with closing(connect(paths)) as connection:
        assert unreadable_tables(connection) == []
    place = len(content) * part // 100
    if damage == "cut":
        os.truncate(paths.database, place)
    else:
        altered = bytes(255 - byte for byte in content[place : place + 64])
        paths.database.write_bytes(content[:place] + altered + content[place + 64 :])
    (problem,) = verify._problems_of_marts(Lake(paths.lake), ["a-run"], {}, paths, Subject({}))
    assert problem.cure == BUILD
    assert "database is damaged" in problem.what or "cannot open" in problem.what
    assert str(GatehouseError(problem.what)) == problem.what
