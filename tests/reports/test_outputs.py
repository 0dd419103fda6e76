"""The files of a results folder: names, formats, nothing half-written."""

import base64
import io
import re
import subprocess
import sys

import pytest
from PIL import Image

from reports import outputs
from reports.figures import FIGURES
from reports.hypothesis import report_text, validate
from reports.summary import summary_text
from warehouse.errors import GatehouseError


@pytest.fixture
def validation(analysis):
    return validate(analysis.frame)


def test_texts_are_written_under_their_names_or_the_one_given(analysis, validation, tmp_path):
    summary = outputs.write_summary(analysis, tmp_path / "new")
    assert summary == tmp_path / "new" / "analysis_summary.txt"
    assert summary.read_text(encoding="utf-8") == summary_text(analysis)
    report = outputs.write_validation(report_text(validation, ["Run: demo"]), tmp_path / "mine.txt")
    assert report == tmp_path / "mine.txt"
    assert report.read_text(encoding="utf-8") == report_text(validation, ["Run: demo"])


def test_figures_and_page(analysis, validation, tmp_path):
    paths = outputs.write_figures(analysis.frame, validation, analysis.name, tmp_path / "figures")
    assert [path.name for path in paths.values()] == [f"{stem}.png" for stem in FIGURES]
    for path in paths.values():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    page = outputs.write_page(analysis, validation, paths, tmp_path)
    html = page.read_text(encoding="utf-8")
    assert page.name == "report.html"
    assert page.stat().st_size < 3_000_000
    for content in re.findall(r"base64,([^\"]+)", html):
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.width == outputs.PAGE_WIDTH
    assert sorted(each.name for each in tmp_path.iterdir()) == ["figures", "report.html"]
    assert len(list((tmp_path / "figures").iterdir())) == len(FIGURES)


def test_a_folder_that_cannot_be_made_is_refused(validation, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GatehouseError, match="cannot write"):
        outputs.write_validation("text", tmp_path / "file" / "folder")


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
