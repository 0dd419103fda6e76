"""The second process that draws a run's figures, and what happens without it."""

import os
from pathlib import Path

import pytest

from gatehouse.flows.steps import drawing
from gatehouse.reports.figures.gallery import RUN_FIGURES
from gatehouse.reports.results import files
from gatehouse.reports.results.results import open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths


@pytest.fixture
def selection(captured) -> Selection:
    (run_id,) = Lake(Paths(captured).lake).runs()
    return Selection(None, run_id)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(drawing, "cores", lambda: 2)


def test_it_draws_every_figure_of_the_run(captured, selection, two_cores, monkeypatch, tmp_path):
    """Real ones, byte for byte those that this process would draw: one of them is compared."""
    paths = Paths(captured)
    with drawing.drawer() as drawer:
        drawer.begin(selection, paths, tmp_path)
        drawn = drawer.drawn()
    assert list(drawn) == list(RUN_FIGURES)
    assert all(path == tmp_path / "figures" / f"{stem}.png" for stem, path in drawn.items())
    monkeypatch.setattr(
        "gatehouse.reports.figures.gallery.RUN_FIGURES", {"zipf": RUN_FIGURES["zipf"]}
    )
    here = open_results(selection, paths, drawing._silent, tmp_path / "here")
    for path in files.write_run_figures(here).values():
        for kind in (".png", ".pdf"):
            there = tmp_path / "figures" / f"zipf{kind}"
            assert path.with_suffix(kind).read_bytes() == there.read_bytes()


@pytest.mark.parametrize("end", ["before it is asked", "after it is asked"])
def test_one_that_is_killed_has_drawn_nothing_and_is_no_error(
    captured, selection, two_cores, tmp_path, end
):
    with drawing.drawer() as drawer:
        if end == "before it is asked":
            drawer._beside.kill()
            drawer._beside.wait()
        drawer.begin(selection, Paths(captured), tmp_path)
        drawer._beside.kill()
        assert drawer.drawn() == {}
    assert drawer._beside.returncode == -9


def test_what_cannot_be_drawn_is_left_to_this_process(captured, selection, two_cores):
    """A folder in which nothing can be made: this process then says so."""
    with drawing.drawer() as drawer:
        drawer.begin(selection, Paths(captured), Path("/proc/nowhere"))
        assert drawer.drawn() == {}


def test_on_one_core_there_is_none(monkeypatch, captured, selection):
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    monkeypatch.setattr("subprocess.Popen", None)
    with drawing.drawer() as drawer:
        drawer.begin(selection, Paths(captured), None)
        assert drawer.drawn() == {}


def test_nothing_outlives_the_block(two_cores):
    with pytest.raises(KeyboardInterrupt), drawing.drawer() as drawer:
        process = drawer._beside.pid
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_nobody_asks(monkeypatch, capsys):
    """The run ended while the process was starting."""
    monkeypatch.setattr("sys.stdin.readline", lambda: "", raising=False)
    drawing.draw_what_is_asked()
    assert capsys.readouterr().out == ""
