"""The files of a results folder: names, formats, nothing half-written."""

import dataclasses
import json
import subprocess
import sys
from contextlib import nullcontext
from urllib.parse import unquote

import pytest
from PIL import Image

from gatehouse.reports.figures.gallery import FIGURES, RUN_FIGURES
from gatehouse.reports.results import files
from gatehouse.reports.results.results import Results, open_results
from gatehouse.reports.results.routing_stats import read_statistics
from gatehouse.reports.results.selection import Selection
from gatehouse.reports.results.summary import summary_text
from gatehouse.reports.verdict.assessment import assess_table
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import remove_folder
from gatehouse.warehouse.lake import Lake
from tests.reports.figures.drawn import assessed, made_up
from tests.reports.made_up_page import made_up_page
from tests.reports.page.parsed_page import Page


def bar(what: str, total: int | None):
    """Show nothing."""
    return nullcontext(lambda done: None)


@pytest.fixture
def section(frame):
    return assess_table(frame, Thresholds(), layer=0)


@pytest.fixture
def results(section, tmp_path) -> Results:
    """One layer of a made-up run, of which the page is drawn too."""
    folder = tmp_path / "new"
    return Results(folder, folder / "routing_stats.parquet", [section], "run", made_up_page(2, 60))


def test_texts_are_written_under_their_names_or_the_one_given(results, tmp_path):
    for target, names in (
        (None, ["validation_report.txt", "validation.json"]),
        (tmp_path / "mine", ["validation_report.txt", "validation.json"]),
        (tmp_path / "mine.txt", ["mine.txt", "mine.json"]),
    ):
        report, beside = files.write_validation(results, target)
        assert [report.name, beside.name] == names
        assert report.read_text(encoding="utf-8") == results.report_text
        assert json.loads(beside.read_text(encoding="utf-8"))["layers"][0]["layer"] == 0
    assert report.parent == tmp_path
    assert (tmp_path / "new" / "validation.json").exists()


@pytest.mark.parametrize(
    "write", [files.write_validation, files.write_section_figures, files.write_run_figures]
)
def test_results_go_with_a_run_that_is_removed_meanwhile(results, quick_figures, write):
    gone = dataclasses.replace(results, kept=lambda: False)
    with pytest.raises(GatehouseError, match=r"was removed meanwhile, and its results with it"):
        write(gone)
    assert not results.folder.exists()


def test_only_a_runs_own_folder_goes_with_it(warehouse_paths, run_ids, tmp_path):
    """Also if the run goes while it is assessed; a user's own folder may have the run's name."""
    record = Lake(warehouse_paths.lake).file("runs", run_ids[1])

    def removed(*_):
        remove_folder(record.parent)
        return made_up_page(2, 60)

    for output in (None, tmp_path / run_ids[1]):
        record.parent.mkdir(parents=True)
        record.touch()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gatehouse.reports.results.results.assess", removed)
            opened = open_results(Selection(run_id=run_ids[1]), warehouse_paths, bar, output)
        assert opened.kept() is (output is not None)
    files.write_validation(opened)
    assert (tmp_path / run_ids[1] / "validation.json").exists()


def test_no_results_are_written_of_a_run_that_is_half_gone(warehouse_paths, run_ids):
    """A removal that was killed goes on later, and has passed the results already."""
    going = warehouse_paths.lake / "events" / f"run_id={run_ids[1]}"
    assert not Lake(warehouse_paths.lake).folder("runs", run_ids[1]).exists()
    going.mkdir(parents=True)
    try:
        with pytest.raises(GatehouseError, match=f"`gatehouse runs rm {run_ids[1]}` goes on"):
            open_results(Selection(run_id=run_ids[1]), warehouse_paths, bar)
    finally:
        going.rmdir()


def test_the_tables_of_a_run_are_its_marts(warehouse_paths, run_ids, tmp_path):
    selection = Selection(run_id=run_ids[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatehouse.reports.results.results.assess", lambda *_: made_up_page(2, 60))
        results = open_results(selection, warehouse_paths, bar, tmp_path)
    run = results.of_run.run | {"run_id": run_ids[1]}
    results = dataclasses.replace(results, of_run=dataclasses.replace(results.of_run, run=run))
    parquet, text, summary = files.write_tables(results, warehouse_paths)
    assert [each.name for each in (parquet, text, summary)] == [
        "routing_stats.parquet",
        "routing_stats.csv",
        "analysis_summary.txt",
    ]
    first = results.sections[0]
    assert summary.read_text(encoding="utf-8") == summary_text(
        run, results.of_run.marts.layers, first.frame, 0
    )
    assert len(read_statistics(parquet).frame) == 60


def test_figures_are_for_screen_and_print(section, tmp_path):
    first, second = (
        files._draw_layer(section, "run, MoE layer 0", tmp_path / name)
        for name in ("first", "second")
    )
    assert [path.name for path in first.values()] == [f"{stem}.png" for stem in FIGURES]
    for stem, path in first.items():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        content = path.with_suffix(".pdf").read_bytes()
        assert content == second[stem].with_suffix(".pdf").read_bytes()
        assert content.startswith(b"%PDF")
        assert len(content) < 1_000_000
        assert b"CreationDate" not in content
        # whole TrueType fonts are embedded, not glyphs as Type 3 procedures
        assert b"/CIDFontType2" in content
        assert b"/Type3" not in content
    assert len(list((tmp_path / "first").iterdir())) == 2 * len(FIGURES)


def test_figures_of_a_run(quick_figures, tmp_path):
    marts, findings = made_up(layers=1, tokens=60)
    paths = files._draw_run(assessed(marts, findings), tmp_path, None)
    assert paths == {stem: tmp_path / f"{stem}.png" for stem in RUN_FIGURES}
    written = {f"{stem}.{kind}" for stem in RUN_FIGURES for kind in ("png", "pdf")}
    assert {each.name for each in tmp_path.iterdir()} == written
    with Image.open(paths["zipf"]) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_the_page_is_one_file(results, warehouse_paths, tmp_path):
    page = files.write_page(results, {}, warehouse_paths)
    assert page == tmp_path / "new" / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    named = files.write_page(results, {}, warehouse_paths, tmp_path / "my.html")
    assert named.name == "my.html"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["my.html", "new"]


def test_every_link_of_a_page_leads_to_a_file_also_after_a_move(
    results, warehouse_paths, quick_figures, tmp_path
):
    files.write_validation(results)
    for name in ("routing_stats.csv", "keep 50%#list.json", ".report.html.1.tmp"):
        (results.folder / name).write_text("made up")
    drawn = files.write_figures(results)
    figure = results.folder / "layer-1" / "figures" / "fast_path_analysis.png"
    for each in (figure, figure.with_suffix(".pdf")):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_bytes(b"")
    page = files.write_page(results, drawn, warehouse_paths)
    moved = tmp_path / "moved"
    results.folder.rename(moved)
    links = [each["href"] for each in Page((moved / page.name).read_text("utf-8")).all("a")]
    own = [unquote(link) for link in links if not link.startswith("#")]
    assert all((moved / link).is_file() for link in own)
    there = {path.relative_to(moved).as_posix() for path in moved.rglob("*") if path.is_file()}
    assert there - set(own) == {"report.html", ".report.html.1.tmp"}


def test_a_folder_that_cannot_be_made_is_refused(results, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GatehouseError, match="cannot write"):
        files.write_validation(results, tmp_path / "file" / "folder")


LAZY = """
import sys
import gatehouse.reports.marts, gatehouse.reports.results.files
assert not {"matplotlib", "jinja2", "PIL"} & set(sys.modules)
import gatehouse.reports.figures.gallery
assert "matplotlib.pyplot" not in sys.modules
"""


def test_only_drawing_imports_matplotlib_and_never_pyplot():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
