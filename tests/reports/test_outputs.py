"""The files of a results folder: names, formats, nothing half-written."""

import subprocess
import sys

import pytest
from PIL import Image

from reports import outputs
from reports.assessment import Thresholds, assess_table
from reports.figures import FIGURES
from reports.run_figures import RUN_FIGURES
from reports.run_page import Links
from reports.summary import summary_text
from tests.reports.drawn import RUN, made_up
from tests.reports.made_up_page import made_up_page
from warehouse.errors import GatehouseError


@pytest.fixture
def section(frame):
    return assess_table(frame, Thresholds(), layer=0)


def test_texts_are_written_under_their_names_or_the_one_given(analysis, section, tmp_path):
    summary = outputs.write_summary(analysis.run, analysis.layers, section, tmp_path / "new")
    assert summary == tmp_path / "new" / "analysis_summary.txt"
    assert summary.read_text(encoding="utf-8") == summary_text(
        analysis.run, analysis.layers, section.frame, 0
    )
    for target, names in (
        (tmp_path / "new", ["validation_report.txt", "validation.json"]),
        (tmp_path / "mine.txt", ["mine.txt", "mine.json"]),
    ):
        written = outputs.write_validation("report", "{}", target)
        assert [path.name for path in written] == names
        assert [path.read_text(encoding="utf-8") for path in written] == ["report", "{}"]


def test_figures_are_for_screen_and_print(section, tmp_path):
    first, second = (
        outputs.write_figures(section, "run, MoE layer 0", tmp_path / name)
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


def test_figures_of_a_run(tmp_path):
    marts, findings = made_up(layers=1, tokens=60)
    paths = outputs.write_run_figures(RUN, marts, findings, tmp_path)
    assert paths == {stem: tmp_path / f"{stem}.png" for stem in RUN_FIGURES}
    written = {f"{stem}.{kind}" for stem in RUN_FIGURES for kind in ("png", "pdf")}
    assert {each.name for each in tmp_path.iterdir()} == written
    with Image.open(paths["zipf"]) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_the_page_is_one_file(tmp_path):
    page = outputs.write_page(made_up_page(2, 60), Links(), tmp_path / "new")
    assert page == tmp_path / "new" / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert outputs.write_page(made_up_page(2, 60), Links(), tmp_path / "my.html").name == "my.html"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["my.html", "new"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GatehouseError, match="cannot write"):
        outputs.write_validation("text", "{}", tmp_path / "file" / "folder")


LAZY = """
import sys
import reports.hypothesis, reports.outputs, reports.queries, reports.tables
assert not {"matplotlib", "jinja2", "PIL"} & set(sys.modules)
import reports.figures
assert "matplotlib.pyplot" not in sys.modules
"""


def test_only_drawing_imports_matplotlib_and_never_pyplot():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
