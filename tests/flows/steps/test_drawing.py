"""The second process that draws a run's figures, and what happens without it."""

import json
import os
from pathlib import Path

import pytest

from gatehouse.flows.steps import drawing
from gatehouse.reports.figures.gallery import FIGURES, RUN_FIGURES
from gatehouse.reports.results import files
from gatehouse.reports.results.results import open_results
from gatehouse.reports.results.selection import Selection
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths

OF_EVERY_RUN = [stem for stem in RUN_FIGURES if stem != "replay_cost"]


@pytest.fixture
def selection(captured) -> Selection:
    (run_id,) = Lake(Paths(captured).lake).runs()
    return Selection(None, run_id)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(drawing, "cores", lambda: 2)


def test_its_figures_are_those_of_this_process(
    captured, selection, two_cores, tmp_path, monkeypatch
):
    """Real ones, byte for byte: it offers all, and here draws one that needs a verdict and one that
    needs none."""
    paths, offered = Paths(captured), []
    answer = drawing.Drawer._answer

    def fewer(self, asked=None):
        line = answer(self, asked)
        if asked:
            return line
        offered.extend(json.loads(line))
        return json.dumps([stem for stem in offered if stem in ("zipf", "sample_size")])

    monkeypatch.setattr(drawing.Drawer, "_answer", fewer)
    with drawing.drawer() as drawer:
        drawer.begin(selection, paths, tmp_path / "there")
        drawer._asking.join()
        there = drawer._drawn
    assert sorted(offered) == sorted(OF_EVERY_RUN)
    assert set(offered[-4:]) == {
        *("layer_overview", "minimum_frequency", "sample_size", "coverage_agreement")
    }
    here = open_results(selection, paths, drawing._silent, tmp_path / "here")
    drawn = files.write_run_figures(here, stems=there)
    assert list(there) == ["zipf", "sample_size"]
    folder = tmp_path / "there" / "figures"
    assert all(path == folder / f"{stem}.png" for stem, path in there.items())
    for stem, png in drawn.items():
        for suffix in (".png", ".pdf"):
            beside = there[stem].with_suffix(suffix)
            assert beside.read_bytes() == png.with_suffix(suffix).read_bytes(), stem


def test_both_draw_and_no_figure_is_drawn_twice(
    captured, selection, quick_figures, two_cores, tmp_path, monkeypatch
):
    paths, here = Paths(captured), []
    write = files.write_run_figures

    def counted(results, folder=None, stems=None):
        drawn = write(results, folder, stems)
        here.extend(drawn)
        return drawn

    monkeypatch.setattr(files, "write_run_figures", counted)
    results = open_results(selection, paths, drawing._silent, tmp_path)
    with drawing.drawer() as drawer:
        drawer.begin(selection, paths, tmp_path)
        drawn = drawer.figures(results)
        there = drawer._drawn
    assert list(drawn) == [*FIGURES, *OF_EVERY_RUN]
    assert sorted([*here, *there]) == sorted(OF_EVERY_RUN)
    assert there


@pytest.mark.parametrize("output", [None, Path("/proc/nowhere")])
def test_what_it_cannot_draw_this_process_draws(
    captured, selection, quick_figures, two_cores, tmp_path, output
):
    """It is killed, or it cannot write."""
    results = open_results(selection, Paths(captured), drawing._silent, tmp_path)
    with drawing.drawer() as drawer:
        if output is None:
            drawer._beside.kill()
        drawer.begin(selection, Paths(captured), output)
        drawn = drawer.figures(results)
    assert list(drawn) == [*FIGURES, *OF_EVERY_RUN]
    assert all(path.parent == tmp_path / "figures" and path.exists() for path in drawn.values())


def test_on_one_core_there_is_none(monkeypatch, captured, selection):
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    monkeypatch.setattr("subprocess.Popen", None)
    with drawing.drawer() as drawer:
        drawer.begin(selection, Paths(captured), None)
        assert drawer._asking.ident is None


def test_one_that_has_started_ahead_is_taken_once(two_cores):
    with drawing.started_ahead():
        with drawing.drawer() as first, drawing.drawer() as second:
            assert first._beside and second._beside
            assert first._beside.pid != second._beside.pid
        first_pid = first._beside.pid
        os.kill(first_pid, 0)
        with pytest.raises(ProcessLookupError):
            os.kill(second._beside.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(first_pid, 0)


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
