"""What killed processes left behind goes, and what is in use stays."""

import os
import shutil

import pytest

from gatehouse.flows.steps.build import lock
from gatehouse.flows.upkeep.status import overview
from gatehouse.flows.upkeep.verify import verify_runs
from gatehouse.warehouse.files import remove_folder
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths


def test_a_repair_removes_what_killed_processes_left_and_nothing_that_is_in_use(tmp_path):
    """Also where nothing else is wrong, as after a repair that was killed at its end."""
    paths = Paths(tmp_path / "home")
    left = [
        paths.lake / "locks" / "a-run.lock",
        paths.root / "building.lock",
        paths.root / "building" / "gatehouse.duckdb",
    ]

    def leave() -> None:
        for path in left:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    leave()
    verify_runs(None, paths)
    assert all(path.exists() for path in left)
    verify_runs(None, paths, repair=True)
    assert not any(path.exists() for path in (*left, paths.root / "building"))
    leave()
    with Lake(paths.lake).locks.writing("a-run"), lock(paths):
        verify_runs(None, paths, repair=True)
        assert all(path.exists() for path in left)


def test_a_run_whose_record_is_landing_is_being_written_and_not_a_leftover(tmp_path):
    paths = Paths(tmp_path / "home")
    lake = Lake(paths.lake)
    lake.folder("layers", "a-run").mkdir(parents=True)
    with lake.locks.writing("a-run"):
        text, well = verify_runs(None, paths)
        assert well and "leftovers" not in text, text
        assert "being written by process" in overview(paths)
    text, well = verify_runs(None, paths)
    assert not well and "a-run: leftovers of a run: `gatehouse runs rm a-run` removes them" in text


@pytest.mark.parametrize("at", ["rename", "rmtree"])
def test_a_folder_may_be_removed_by_two_processes_at_once(at, tmp_path, monkeypatch):
    """As a run's results by its removal, and by a report that finds the run gone."""
    folder = tmp_path / "results"
    (folder / "figures").mkdir(parents=True)
    module = {"rename": os, "rmtree": shutil}[at]
    original = getattr(module, at)

    def overtaken(*arguments) -> None:
        monkeypatch.setattr(module, at, original)
        remove_folder(folder)
        original(*arguments)

    monkeypatch.setattr(module, at, overtaken)
    remove_folder(folder)
    assert not list(tmp_path.iterdir())


def test_a_folder_goes_that_was_written_anew_while_another_process_removed_it(
    tmp_path, monkeypatch
):
    folder = tmp_path / "results"
    folder.mkdir()
    rename = os.rename

    def overtaken(source, target) -> None:
        monkeypatch.setattr(os, "rename", rename)
        target.mkdir()
        (target / "of-the-other-process").touch()
        rename(source, target)

    monkeypatch.setattr(os, "rename", overtaken)
    remove_folder(folder)
    assert not list(tmp_path.iterdir())
