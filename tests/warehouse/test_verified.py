"""What was found right is read again as soon as anything may have changed, and not before."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatehouse.warehouse import tables
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.remembered import memory
from gatehouse.warehouse.remembered.verified import Unread, Verified
from gatehouse.warehouse.storage import folder
from gatehouse.warehouse.upkeep import verification
from tests.dbt_project.random_lake import RandomRun, land_lawful
from tests.tools.layers import modules

MADE_UP = RandomRun("", 8, 2, blocks=(0, 1), shards=2, samples=range(8), text="a", routing="a")
OTHER = RandomRun("", 8, 2, blocks=(0, 1), shards=2, samples=range(8), text="b", routing="b")
DESCRIPTION = ["layers", "vocabulary"]
YEARS = 10**18
"""Nanoseconds."""
ASKED = ("agreement", "verification")
DECIDE_NOTHING = {
    "errors",
    "paths",
    "plain_text",
    "runs/run_locks",
    "storage/conditions",
    "storage/faults",
    "storage/holders",
    "storage/leases",
    "writers",
    "writers/locks",
    "writers/temporary",
}
SHARDS = ["events-0", "events-1", "samples-0", "samples-1"]


@pytest.fixture(scope="module")
def landed(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("landed")
    for run in (MADE_UP, OTHER):
        land_lawful(Lake(home / "lake"), run)
    return home


@pytest.fixture
def paths(landed, tmp_path, monkeypatch) -> Paths:
    """A home with two runs; its files count as settled, however new they are."""
    monkeypatch.setattr(folder, "SETTLED", -YEARS)
    return Paths(shutil.copytree(landed, tmp_path / "home"))


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The lake's files that have been read beyond the records of runs and shards, in order."""
    paths = []

    def noting(function):
        def call(path, *arguments):
            paths.append(path.stem.replace("shard-0000", f"{path.parent.parent.name}-"))
            return function(path, *arguments)

        return call

    for name in ("sha256_of", "read_table"):
        monkeypatch.setattr(verification, name, noting(getattr(verification, name)))
    table_of = noting(lambda path, content, schema: tables.table_of(content, path, schema))
    monkeypatch.setattr(
        verification, "table_of", lambda content, path, schema: table_of(path, content, schema)
    )
    monkeypatch.setattr(Events, "in_file", noting(Events.in_file))
    return paths


def run_of(paths: Paths) -> str:
    return Lake(paths.lake).run_ids()[0]


def file(paths: Paths, name: str) -> Path:
    table, _, shard = name.partition("-")
    lake, run_id = Lake(paths.lake), run_of(paths)
    return lake.shard_file(table, run_id, int(shard)) if shard else lake.file(table, run_id)


def check(paths: Paths, run_id: str = "", *, distrusted: bool = False) -> tuple[list[str], Unread]:
    """Verify one run as the command does; return what is wrong, and what was not read."""
    lake, run_id = Lake(paths.lake), run_id or run_of(paths)
    known = Verified(paths.remembered / "verified", distrusted=distrusted)
    problems = verification.verify(lake, run_id, verified=known.of(run_id))
    known.remember(lake.run_ids())
    return [problem.what for problem in problems], known.of(run_id).unread


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_unchanged_is_not_read_again(paths, read):
    before = datetime.now(UTC)
    assert check(paths) == ([], Unread(9, 0, None))
    assert set(read) == {*DESCRIPTION, *SHARDS}
    read.clear()
    problems, unread = check(paths)
    assert (problems, read) == ([], [])
    assert (unread.files, unread.unchanged) == (9, 6)
    assert before <= unread.since <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("changed", "with_it"),
    [
        ("events-1", ["samples-1"]),
        # the hash of the dataset is one of all samples
        ("samples-1", ["events-1", "samples-0"]),
        ("vocabulary", ["layers"]),
        ("layers", ["vocabulary", *SHARDS]),
    ],
)
@pytest.mark.parametrize("how", ["written", "touched"])
def test_a_file_that_may_have_changed_is_read_again(paths, read, changed, with_it, how):
    check(paths)
    read.clear()
    path = file(paths, changed)
    if how == "touched":
        os.utime(path, (1, 1))
    else:
        path.write_bytes(path.read_bytes())
    assert check(paths)[0] == []
    assert set(read) == {changed, *with_it}
    assert check(paths)[1].unchanged == 6


def test_a_byte_that_somebody_flips_and_hides_is_found(paths):
    check(paths)
    path = file(paths, "events-1")
    times = path.stat()
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert check(paths)[0] == ["shard 1 has other bytes in `events` than were recorded"]
    assert check(paths)[0] != [], "nor is it forgotten"


def test_a_byte_that_the_disk_loses_is_found_when_all_is_read(paths, monkeypatch):
    check(paths)
    marks = {path: folder._mark_of(path) for path in paths.lake.rglob("*.parquet")}
    flip(file(paths, "events-1"))
    monkeypatch.setattr(folder, "_mark_of", marks.__getitem__)
    assert check(paths)[0] == []
    damage = ["shard 1 has other bytes in `events` than were recorded"]
    assert check(paths, distrusted=True)[0] == damage
    assert check(paths)[0] == damage, "what was found wrong is read until it is right"


def test_a_file_that_changed_a_moment_ago_is_read_again(paths, monkeypatch, read):
    monkeypatch.setattr(folder, "SETTLED", YEARS)
    check(paths)
    read.clear()
    assert check(paths) == ([], Unread(9, 0, None))
    assert set(read) == {*DESCRIPTION, *SHARDS}


def test_of_a_run_that_grows_the_new_shard_is_read(paths, read):
    lake, run_id = Lake(paths.lake), run_of(paths)
    rows, record = lake.shards.recorded(run_id), lake.run_record(run_id)
    grown = lake.shard_file("shards", run_id, 1)
    grown.unlink()
    lake.update_run(run_id, record | {"finished_at": None})
    assert check(paths)[0] == []
    read.clear()
    lake.shards.add(run_id, rows[1])
    assert check(paths)[0] == []
    assert "events-1" in read and "events-0" not in read


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: None,
        lambda content: b"",
        lambda content: content[:-9],
        lambda content: content.replace(b'"found":true', b'"found":null', 1),
        lambda content: content.partition(b"\n")[2],
        lambda content: b"\xff" * 99,
    ],
)
def test_a_memory_that_is_lost_or_damaged_is_none(paths, read, damage):
    check(paths)
    kept = paths.remembered / "verified"
    damaged = damage(kept.read_bytes())
    kept.unlink() if damaged is None else kept.write_bytes(damaged)
    read.clear()
    assert check(paths) == ([], Unread(9, 0, None))
    assert check(paths)[1].unchanged == 6


def test_by_other_laws_all_is_read_again(paths, monkeypatch):
    check(paths)
    monkeypatch.setattr(memory, "_laws", lambda: "others")
    assert check(paths) == ([], Unread(9, 0, None))


def test_the_laws_are_those_of_the_sources(monkeypatch):
    before = memory._laws.__wrapped__()
    monkeypatch.setattr(memory, "SOURCES", memory.SOURCES[1:])
    assert memory._laws.__wrapped__() != before


def test_two_at_once_keep_what_both_found(paths):
    lake = Lake(paths.lake)
    first, second = (Verified(paths.remembered / "verified") for _ in range(2))
    for known, run_id in zip((first, second), lake.run_ids(), strict=True):
        verification.verify(lake, run_id, verified=known.of(run_id))
    for known in (first, second):
        known.remember(lake.run_ids())
    assert [check(paths, run_id)[1].unchanged for run_id in lake.run_ids()] == [6, 6]


def test_a_run_that_is_gone_is_forgotten(paths):
    first, second = Lake(paths.lake).run_ids()
    for run_id in (first, second):
        check(paths, run_id)
    for of_run in paths.lake.rglob(f"run_id={first}"):
        shutil.rmtree(of_run)
    check(paths, second)
    assert memory.recall(paths.remembered / "verified").keys() == {second}


def test_killed_while_it_remembers_it_remembers_what_it_did(paths, monkeypatch):
    check(paths)
    kept = paths.remembered / "verified"
    before = kept.read_bytes()

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            check(paths, Lake(paths.lake).run_ids()[1])
    assert kept.read_bytes() == before and list(kept.parent.iterdir()) == [kept]


def test_where_nothing_can_be_written_nothing_is_remembered(paths, read):
    paths.remembered.write_text("in the way")
    assert check(paths) == check(paths) == ([], Unread(9, 0, None))


def test_the_laws_are_all_that_decides_whether_a_file_is_right():
    """What a verification imports of the warehouse, but for words, names and locks."""
    imported = modules("warehouse")
    deciding, left = set(), {f"gatehouse.warehouse.upkeep.{name}" for name in ASKED}
    while left:
        deciding |= left
        left = set().union(*(imported[name] for name in left)) - deciding
    paths = {name.removeprefix("gatehouse.warehouse.").replace(".", "/") for name in deciding}
    assert paths - DECIDE_NOTHING == {name.removesuffix(".py") for name in memory.SOURCES}
