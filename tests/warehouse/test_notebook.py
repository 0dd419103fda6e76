"""The users' own connection finds their own tables; that of `gatehouse sql` does not."""

import re
from contextlib import closing

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
import yaml

import gatehouse
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.notebook import is_in_nats, table_of
from gatehouse.warehouse.paths import DBT_PROJECT, Paths

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


def test_units_are_those_of_the_columns_descriptions():
    """Every number of the marts that is described in nats says so, and no other does."""
    found = {}
    for path in (DBT_PROJECT / "models" / "marts").rglob("*.yml"):
        for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]:
            for column in model["columns"]:
                if column["data_type"] == "double":
                    found.setdefault(column["name"], []).append(column["description"])
    for name, descriptions in found.items():
        described = any("in nats" in re.sub(r"\s+", " ", each) for each in descriptions)
        # described as the same of another model
        assert is_in_nats(name) == (described or name == "untouched_nll"), name


def test_a_relation_is_shown_as_a_table_a_person_can_read():
    rows = """
        select
            12345 as token_id,
            1234567 as tokens,
            1.60004 as mean_entropy,
            0.5 as normalised_entropy,
            98765.4321 as tokens_per_second,
            '<b>|' || chr(10) as token_str,
            [0.123456, 1] as weights,
            range(20) as experts,
            {'a': 1.0, 'b': null} as pair,
            null::varchar as missing,
            timestamptz '2026-03-01 02:00:00.25+00' as began,
            true as is_dead
        from range($1)
    """
    with closing(duckdb.connect()) as connection:
        connection.execute("set timezone = 'UTC'")
        shown = table_of(connection.sql(rows, params=[1]))
        assert re.findall(r"<td[^>]*>(.*?)</td>", shown) == [
            *("12345", "1,234,567", "1.600", "0.5000", "98,765", "&lt;b&gt;|\\n"),
            *("[0.1235, 1.000]", "[0, 1, 2, 3, 4, 5, 6, …]", "{a: 1.000, b: \N{EN DASH}}"),
            *("\N{EN DASH}", "2026-03-01 02:00:00", "true"),
        ]
        assert re.findall(r"(\w+) <small>nats", shown) == ["mean_entropy"]
        assert shown.endswith("<small>1 row</small></p>")
        assert shown.count("text-align: right") == 2 * 5
        long = table_of(connection.sql(rows, params=[1234]))
    assert long.count("<tr>") == 1 + 20 and "20 of 1,234 rows" in long


def test_outside_of_jupyter_a_connection_changes_nothing(paths):
    with closing(gatehouse.connect(paths)) as connection:
        assert not hasattr(type(connection.sql("select 1")), "_repr_html_")
