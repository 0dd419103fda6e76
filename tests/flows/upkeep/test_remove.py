"""`gatehouse runs rm`: wherever it stops, the same command goes on."""

import sys
from pathlib import Path

import pytest

from gatehouse.flows.steps import build
from gatehouse.flows.upkeep import remove
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import find_run, name_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.runs.layout import TABLES
from gatehouse.warehouse.writers import locks

RUN = "a-run-0123456789"
REMOVES = ("os.remove", "os.rmdir", "os.rename")


class Killed(BaseException):
    """The process ends here."""


class Killer:
    """Ends the process, so to speak, before the removal that it is armed for."""

    left: int | None = None

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.left is None or event not in REMOVES:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise Killed


killer = Killer()


@pytest.fixture(scope="module", autouse=True)
def listening():
    sys.addaudithook(killer)
    yield
    killer.left = None


@pytest.fixture
def paths(tmp_path) -> Paths:
    """A run of two files a table, which no table can be read from, with results and a name."""
    return with_a_run(Paths(tmp_path / "home"))


def with_a_run(paths: Paths) -> Paths:
    folders = [Lake(paths.lake).folder(table, RUN) for table in TABLES]
    notes = [paths.lake / "readings", paths.lake / "replaying"]
    for folder in [*folders, paths.results(RUN) / "figures", *notes]:
        folder.mkdir(parents=True)
        for name in (f"{folder.parent.name}.parquet", "shard-00000.parquet"):
            (folder / name).touch()
    for folder in notes:
        (folder / f"{RUN}.json").write_text("{}")
    name_run(paths.lake, RUN, "my run")
    return paths


def rm(paths: Paths, word: str = RUN) -> str:
    return remove.remove_run(find_run(paths.lake, word), paths, lambda question: True)


def left(paths: Paths) -> list[Path]:
    return [path for path in paths.root.rglob("*") if RUN in path.name or path.suffix == ".lock"]


@pytest.mark.parametrize("word", [RUN, "my run"])
def test_the_same_command_goes_on_wherever_it_was_killed(tmp_path, word):
    moments = 0
    while True:
        paths = with_a_run(Paths(tmp_path / str(moments)))
        killer.left = moments
        try:
            rm(paths, word)
        except Killed:
            moments += 1
            if left(paths):
                assert rm(paths, word) == f"removed {RUN}"
            assert not left(paths)
        else:
            break
    killer.left = None
    assert moments > 2 * len(TABLES)


def test_results_that_a_killed_report_left_go_with_the_same_command(paths):
    """It wrote them after the removal had passed its results. A folder of a user's stays."""
    rm(paths)
    for name in (RUN, "my-notes"):
        (paths.results(name) / "figures").mkdir(parents=True)
    assert rm(paths) == f"removed {RUN}" and not left(paths)
    with pytest.raises(GatehouseError, match="there is no run 'my-notes'"):
        rm(paths, "my-notes")
    assert (paths.results("my-notes") / "figures").exists()


def test_what_is_half_gone_is_shown_with_its_way_out(run, paths):
    killer.left = 8
    with pytest.raises(Killed):
        rm(paths)
    code, out, _ = run("status", "--home", paths.root)
    assert code == 0 and RUN in out and f"`gatehouse runs rm {RUN}` removes them" in out


def test_nothing_is_touched_while_a_build_is_at_work(paths, monkeypatch):
    monkeypatch.setattr(locks, "SECONDS_OF_A_LOOK", 0)
    before = sorted(paths.root.rglob("*"))
    with build.lock(paths), pytest.raises(GatehouseError, match="another build is writing"):
        rm(paths)
    assert sorted(path for path in paths.root.rglob("*") if path.name != "locks") == [
        path for path in before if path.name != "locks"
    ]
    assert rm(paths) == f"removed {RUN}" and not left(paths)


def test_what_fails_after_the_lake_is_taken_up_by_the_same_command(paths, monkeypatch):
    """As a build that stops at another run's damage, or a disk that is full."""
    paths.database.touch()
    said = iter([GatehouseError("no room"), "no finished run is left"])

    def rebuild(paths: Paths) -> str:
        if isinstance(answer := next(said), GatehouseError):
            raise answer
        return answer

    monkeypatch.setattr(remove, "rebuild", rebuild)
    with pytest.raises(GatehouseError, match="no room"):
        rm(paths)
    assert rm(paths) == f"removed {RUN}; no finished run is left" and not left(paths)
    with pytest.raises(GatehouseError, match="there is no run"):
        rm(paths)


def test_what_a_link_leads_to_stays(paths, tmp_path):
    """Results and a run's folders may lie on another disk."""
    elsewhere = tmp_path / "elsewhere"
    for folder in (paths.results(RUN), Lake(paths.lake).folder("events", RUN)):
        folder.rename(elsewhere)
        folder.symlink_to(elsewhere)
        elsewhere = tmp_path / "another place"
    rm(paths)
    assert not left(paths) and (tmp_path / "elsewhere" / "figures").exists()
    assert (elsewhere / "shard-00000.parquet").exists()
