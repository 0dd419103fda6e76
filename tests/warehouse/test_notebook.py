"""The users' own connection finds their own tables; that of `gatehouse sql` does not."""

from contextlib import closing

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import gatehouse
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths

JOINED = "select part from dim_layer inner join mine using (layer)"


@pytest.fixture
def paths(tmp_path) -> Paths:
    with duckdb.connect(str(tmp_path / "gatehouse.duckdb")) as writer:
        writer.execute("create table dim_layer as select 1 as layer")
    return Paths(tmp_path)


@pytest.mark.parametrize("kind", [pd.DataFrame, pa.table])
def test_a_table_in_a_variable_is_found_by_its_name(paths, kind):
    mine = kind({"layer": [1, 2], "part": ["early", "late"]})  # noqa: F841 - SQL names it
    with closing(gatehouse.connect(paths)) as connection:
        assert connection.sql(JOINED).fetchall() == [("early",)]
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("create table dim_new as from mine")
        assert connection.sql("from dim_layer").fetchall() == [(1,)]


def test_a_confined_connection_is_given_a_table(paths):
    mine = pd.DataFrame({"layer": [1], "part": ["early"]})
    for confined in (gatehouse.connect(paths, external_access=False), connect(paths)):
        with closing(confined):
            with pytest.raises(duckdb.CatalogException, match="mine does not exist"):
                confined.sql(JOINED)
            confined.register("mine", mine)
            assert confined.sql(JOINED).fetchall() == [("early",)]
