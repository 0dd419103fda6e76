"""Rows that are remembered are those that the file holds now, and its damage is still seen."""

import os

import pytest

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import RUNS, SHARDS
from gatehouse.warehouse.remembered import rows
from gatehouse.warehouse.remembered.rows import remembered_rows
from gatehouse.warehouse.tables import read_table
from tests.warehouse.conftest import RUN, table_file


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The files that were decoded, in order."""
    names, decode = [], rows.table_of

    def noting(content, path, schema):
        names.append(path.stem)
        return decode(content, path, schema)

    monkeypatch.setattr(rows, "table_of", noting)
    return names


@pytest.fixture
def asked(lake, samples, events, tmp_path):
    """`asked()`: the row of the run and those of its shards, from what the home remembers."""
    lake.land_shard(RUN, 0, samples, Events.of(events), seconds=0.1)

    def ask():
        with remembered_rows(tmp_path / "remembered") as known:
            again = Lake(lake.root, known)
            return again.run_record(RUN), again.shards.recorded(RUN)

    return ask


def test_rows_are_decoded_once_and_are_the_files(asked, decoded, lake):
    for _ in range(3):
        record, shards = asked()
        assert [record] == read_table(lake.file("runs", RUN), RUNS).to_pylist()
        assert list(shards.values()) == read_table(table_file(lake, "shards"), SHARDS).to_pylist()
    assert decoded == ["runs", "shard-00000"]


def test_a_file_that_was_replaced_is_decoded_again(asked, decoded, lake, record):
    asked()
    lake.update_run(RUN, record | {"capture_seconds": 9.0})
    decoded.clear()
    assert asked()[0]["capture_seconds"] == 9.0
    assert decoded == ["runs"]


@pytest.mark.parametrize("table", ["runs", "shards"])
def test_damage_is_seen_whatever_is_remembered(asked, lake, table):
    asked()
    path = table_file(lake, table)
    content, times = path.read_bytes(), path.stat()
    path.write_bytes(content.replace(b"PAR1", b"PAR2", 1))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(BrokenLaw, match="damaged or missing"):
        asked()
    path.write_bytes(content)
    assert asked()[0]["capture_seconds"] == 0.5


def test_a_remembered_file_in_the_place_of_another_is_named(asked, lake, record):
    asked()
    lake.update_run("other", record)
    lake.file("runs", "other").write_bytes(lake.file("runs", RUN).read_bytes())
    with pytest.raises(BrokenLaw, match=f"is that of run_id={RUN}/runs.parquet"):
        lake.run_record("other")
    assert "other" not in Lake(lake.root).runs()


def test_what_is_gone_is_forgotten(asked, lake, tmp_path):
    asked()
    table_file(lake, "shards").unlink()
    lake.file("runs", RUN).unlink()
    with remembered_rows(tmp_path / "remembered"):
        pass
    with remembered_rows(tmp_path / "remembered") as known:
        assert known.known == {}


def test_a_home_without_runs_stays_as_it_is(tmp_path):
    with remembered_rows(tmp_path / "home" / "remembered") as known:
        assert Lake(tmp_path / "home" / "lake", known).runs() == {}
    assert list(tmp_path.iterdir()) == []
