"""Processes that land shards of one run at once, killed or not, leave the lake of a single one."""

import os
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import PACKAGE
from gatehouse.warehouse.runs.shards import captured_since
from gatehouse.warehouse.tables import Content
from gatehouse.warehouse.writers.temporary import TEMPORARY
from tests.dbt_project.random_lake import random_shard
from tests.warehouse.land_shards import RUN, land

OF_TIME = {"runs": ["finished_at"], "shards": ["landed_at"]}
KILLED = -9


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, object]:
    """What a single process leaves."""
    lake = Lake(tmp_path_factory.mktemp("alone"))
    with lake.locks.writing(RUN.run_id):
        land(lake, [0, 1, 2, 3])
    return contents(lake.root)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def start(lake):
    """`start("0,1")`: a process that shares the run and waits for a line."""
    with ExitStack() as opened:

        def started(*words: str) -> subprocess.Popen:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.warehouse.land_shards", str(lake.root), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=PACKAGE,
            )
            opened.callback(process.communicate)
            opened.callback(process.kill)
            assert process.stdout.readline() == "\n"
            return process

        yield started


def go(*processes: subprocess.Popen) -> list[int]:
    """Let them begin at once; return how they ended."""
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.wait() for process in processes]


def contents(root: Path) -> dict[str, object]:
    """Return each file of a lake by its bytes, or by its rows where it tells when it landed."""
    found: dict[str, object] = {}
    for path in filter(Path.is_file, root.rglob("*")):
        times = OF_TIME.get(path.relative_to(root).parts[0])
        rows = times and pq.read_table(path, partitioning=None).drop_columns(times)
        found[str(path.relative_to(root))] = rows.to_pylist() if rows else Content.of(path)
    return found


def finished_at(lake: Lake) -> object:
    return lake.run_record(RUN.run_id)["finished_at"]


@pytest.mark.parametrize("shards", [("0,2", "1,3"), ("0,1,2,3", "0,1,2,3")])
def test_two_at_once_leave_what_one_leaves(lake, start, alone, shards):
    """Of other shards, or of the same ones."""
    assert go(*map(start, shards)) == [0, 0]
    assert contents(lake.root) == alone
    closed = finished_at(lake)
    with lake.locks.sharing(RUN.run_id):
        land(lake, [0, 1, 2, 3])
    assert finished_at(lake) == closed, "a run is closed once, and nothing opens it again"


@pytest.mark.parametrize(
    ("place", "left"),
    [
        ("/vocabulary/", 1),
        ("/events/run_id=shared/shard-00001", 1),
        ("/samples/run_id=shared/shard-00001", 1),
        ("/shards/run_id=shared/shard-00001", 1),
    ],
)
def test_what_a_killed_one_began_another_ends(lake, start, alone, place, left):
    """While both share the run: before events, samples and record have their names."""
    living = start("3,2")
    killed = start("0,1", place)
    assert go(killed) == [KILLED]
    assert len(list(lake.root.rglob(TEMPORARY))) == left
    assert lake.locks.writer(RUN.run_id).startswith(f"process {living.pid} on ")
    assert go(living) == [0]
    assert not list(lake.root.rglob(TEMPORARY)), "what it left is known to be dead"
    with lake.locks.sharing(RUN.run_id):
        land(lake, [0, 1, 2, 3])
    assert contents(lake.root) == alone


def test_one_alone_and_those_that_share_refuse_one_another(lake, start, monkeypatch):
    monkeypatch.setattr("gatehouse.warehouse.writers.locks.SECONDS_OF_A_LOOK", 0)
    first, second = sorted((start("0"), start("1")), key=lambda process: process.pid)
    writer = lake.locks.writer(RUN.run_id)
    for process in (first, second):
        assert f"process {process.pid} on " in writer
    with pytest.raises(
        GatehouseError, match=r"written by process \d+ on .* and process \d+ on .*:"
    ):
        lake.locks.writing(RUN.run_id).__enter__()
    assert lake.locks.has_been_locked(RUN.run_id)
    first.kill()
    first.wait()
    with pytest.raises(GatehouseError, match=f"written by process {second.pid} on [^,]*: wait"):
        lake.locks.writing(RUN.run_id).__enter__()
    assert go(second) == [0]
    with lake.locks.writing(RUN.run_id):
        with pytest.raises(GatehouseError, match=f"written by process {os.getpid()} on"):
            lake.locks.sharing(RUN.run_id).__enter__()
        assert list((lake.root / "locks").iterdir()) == [lake.root / "locks" / "shared.lock"]
    assert lake.locks.writer(RUN.run_id) is None and not lake.locks.has_been_locked(RUN.run_id)


def test_a_shard_that_has_landed_is_not_landed_again_by_who_shares(lake):
    with lake.locks.sharing(RUN.run_id):
        land(lake, [0])
        (path,) = lake.shards.record_files(RUN.run_id)
        before = path.stat().st_mtime_ns
        lake.land_shard(RUN.run_id, 0, *random_shard(RUN, 0), again=False)
        assert path.stat().st_mtime_ns == before
        lake.land_shard(RUN.run_id, 0, *random_shard(RUN, 0))
        assert path.stat().st_mtime_ns > before


def test_of_another_machines_writer_nothing_is_swept_but_by_one_alone(lake):
    with lake.locks.sharing(RUN.run_id):
        land(lake, [0])
        left = lake.folder("events", RUN.run_id) / ".shard-00001.parquet.0123abcd-1-0123abcd.tmp"
        left.write_bytes(b"half")
        lake.locks.remove_dead_leftovers(RUN.run_id)
        assert left.exists()
    with lake.locks.writing(RUN.run_id):
        lake.locks.remove_leftovers(RUN.run_id)
    assert not left.exists()


def test_seconds_of_shards_that_were_captured_at_once_count_once():
    started = datetime(2026, 1, 1, tzinfo=UTC)

    def row(shard: int, began: float, landed: float) -> dict[str, Any]:
        return {
            "shard": shard,
            "seconds": landed - began,
            "landed_at": started + timedelta(seconds=landed),
        }

    two_at_once = [row(0, 0, 10), row(1, 4, 12), row(2, 5, 6)]
    later, taken_over = row(3, 20, 25), row(4, -30, 1)
    assert captured_since(two_at_once, started) == (two_at_once, 12)
    assert captured_since([later, *two_at_once], started) == ([later, *two_at_once], 17)
    assert captured_since([taken_over, later], started) == ([later], 5)
    assert captured_since([taken_over], started) == ([taken_over], 31)
    assert captured_since([], started) == ([], 0)
