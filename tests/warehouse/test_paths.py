"""Where commands may write: nothing of the warehouse, in any spelling, and no one else's folder."""

import os
from pathlib import Path

import pytest

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import Reserved, check_output, check_output_folder


@pytest.fixture
def paths(tmp_path) -> Paths:
    """A home with a run; its events are on another disk."""
    paths, disk = Paths(tmp_path / "home"), tmp_path / "disk" / "events"
    (paths.lake / "runs" / "run_id=a").mkdir(parents=True)
    (paths.lake / "VERSION").write_text("1")
    (disk / "run_id=a").mkdir(parents=True)
    (disk / "run_id=a" / "shard.parquet").write_text("")
    (paths.lake / "events").symlink_to(disk)
    paths.prepared.mkdir()
    paths.results("a").mkdir(parents=True)
    paths.database.write_text("")
    return paths


def test_the_warehouses_own_is_reserved_in_every_spelling(paths, tmp_path, monkeypatch):
    shard = tmp_path / "disk" / "events" / "run_id=a" / "shard.parquet"
    (tmp_path / "link").symlink_to(paths.lake)
    (tmp_path / "dangling").symlink_to(paths.lake / "new.csv")
    os.link(shard, tmp_path / "hard.parquet")
    os.link(paths.database, tmp_path / "hard.duckdb")
    monkeypatch.chdir(paths.root)
    for name in (
        paths.lake,
        paths.lake / "x.csv",
        paths.root / "results" / ".." / "lake" / "x.csv",
        paths.lake / "events" / "x.csv",
        shard,
        shard.parent / "x.csv",
        tmp_path / "link" / "x.csv",
        tmp_path / "dangling",
        tmp_path / "hard.parquet",
        tmp_path / "hard.duckdb",
        Path("lake/x.csv"),
        Path("gatehouse.duckdb"),
        Path("gatehouse.duckdb/report.txt"),
        Path("gatehouse.duckdb.wal"),
        Path("/" + str(paths.lake)),
        paths.prepared / "text" / "train.parquet",
        paths.results("a") / "report.html",
    ):
        with pytest.raises(GatehouseError, match="belongs to the warehouse"):
            check_output(name, paths)
    with pytest.raises(GatehouseError, match="belongs to the warehouse"):
        # whichever warehouse a command works on
        check_output(paths.prepared / "x.csv", Paths(tmp_path / "another"))
    for name in (tmp_path / "x.csv", paths.root / "x.csv", paths.root / "results" / "sweep.csv"):
        check_output(name, paths)


def test_a_home_cannot_lie_in_a_lake(paths):
    assert Paths.resolve(paths.root) == paths
    for home in (paths.lake, paths.lake / "runs" / "x"):
        with pytest.raises(GatehouseError, match=f"lies in a lake: name {paths.root}"):
            Paths.resolve(home)


def test_a_linked_home_or_lake_is_the_same_place(paths, tmp_path):
    (tmp_path / "moved").mkdir()
    paths.lake.rename(tmp_path / "moved" / "lake")
    paths.lake.symlink_to(tmp_path / "moved" / "lake")
    (tmp_path / "alias").symlink_to(paths.root)
    for home in (paths, Paths(tmp_path / "alias")):
        for lake in (paths.lake, tmp_path / "moved" / "lake", tmp_path / "alias" / "lake"):
            assert Reserved(home).has(lake / "x.csv")
        assert Reserved(home).lies_in(tmp_path / "moved") and Reserved(home).lies_in(paths.root)


def test_a_commands_own_part_of_the_warehouse_is_free(paths):
    (paths.lake / "runs" / "run_id=b").mkdir()
    check_output(paths.results("a") / "report.html", paths, paths.results("a"))
    check_output_folder(paths.prepared, (), paths, paths.prepared)
    for name, own in ((paths.results("b"), paths.results("a")), (paths.lake, paths.prepared)):
        with pytest.raises(GatehouseError, match="belongs to the warehouse"):
            check_output(name / "x", paths, own)


def test_a_folder_is_new_or_empty_or_the_commands_own(paths, tmp_path):
    made, others = tmp_path / "made", tmp_path / "others"
    for folder in (made, others):
        folder.mkdir()
        check_output_folder(folder, ("*.png",), paths)
        (folder / "mine.txt").touch()
    (made / "a.png").touch()
    check_output_folder(made, ("*.png",), paths)
    check_output_folder(tmp_path / "new", ("*.png",), paths)
    for folder, says in (
        (others, "holds other files"),
        (paths.root, "the warehouse lies in"),
        (tmp_path, "the warehouse lies in"),
        (Path("/"), "the warehouse lies in"),
        (tmp_path / "disk", "the warehouse lies in"),
        (paths.root / "results", "the warehouse lies in"),
    ):
        with pytest.raises(GatehouseError, match=says) as error:
            check_output_folder(folder, ("*.png",), paths)
        assert "name a new" in str(error.value)
    (made / "b.png").symlink_to(paths.lake)
    with pytest.raises(GatehouseError, match="belongs to the warehouse"):
        check_output_folder(made, ("*.png",), paths)


def test_what_is_no_file_stays(tmp_path):
    paths = Paths(tmp_path / "home")
    pipe, link, opened = (tmp_path / name for name in ("pipe", "link", "stdout"))
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    (tmp_path / "file").write_text("")
    with (tmp_path / "file").open() as file:
        opened.symlink_to(f"/proc/self/fd/{file.fileno()}")
        for target in (pipe, link, opened):
            with pytest.raises(GatehouseError, match="is a device, a pipe or a socket: name"):
                check_output(target, paths)
    check_output(tmp_path / "file", paths)
    check_output(tmp_path / "new", paths)


@pytest.mark.parametrize("address", ["s3://me:secret@bucket/home", "gs:/bucket", "file:///home"])
def test_an_address_is_no_home(address, monkeypatch):
    monkeypatch.setenv("GATEHOUSE_HOME", address)
    for home in (None, Path(address)):
        with pytest.raises(
            GatehouseError, match="a home is a folder of this machine: name a fol"
        ) as no:
            Paths.resolve(home)
        assert "secret" not in str(no.value)
