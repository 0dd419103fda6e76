"""docs/notebook.ipynb runs on any home, and what it shows is small and of nobody's machine."""

import json
import re

import pytest

from tests.conftest import CHECKOUT

PAGE = CHECKOUT / "docs" / "notebook.ipynb"
MOST_BYTES = 300_000


def kinds(cells: list) -> list[list[set[str]]]:
    """Return for each cell of code the kinds of data in each of its outputs."""
    return [
        [set(output.get("data", {})) for output in cell["outputs"]]
        for cell in cells
        if cell["cell_type"] == "code"
    ]


@pytest.fixture(scope="module")
def kept() -> dict:
    return json.loads(PAGE.read_text(encoding="utf-8"))


def test_ten_questions_have_a_table_and_a_plot_each(kept):
    questions = [
        "".join(cell["source"]).splitlines()[0]
        for cell in kept["cells"]
        if "".join(cell["source"]).startswith("## ")
    ]
    assert len(questions) == 10
    assert all(re.fullmatch(rf"## {n}\. .+\?", each) for n, each in enumerate(questions, 1))
    setting_up, *rest = kinds(kept["cells"])
    assert setting_up == []
    assert rest == 10 * [[{"text/plain", "text/html"}], [{"text/plain", "image/png"}]]


def test_the_outputs_are_small_and_name_no_place(kept):
    text = PAGE.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    pictures = re.compile(r'"image/png": "[^"]*"')
    assert not re.search(r"/(home|root|tmp|work|Users)\b", pictures.sub("", text))
    assert all(
        output["output_type"] in ("execute_result", "display_data")
        for cell in kept["cells"]
        for output in cell.get("outputs", [])
    )


def test_the_notebook_runs_on_another_home(captured, kept):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from tests.tools.notebook import executed

    found = executed(captured)
    assert kinds(found.cells) == kinds(kept["cells"])
    # of another run
    entropies = [
        cells[6]["outputs"][0]["data"]["text/html"] for cells in (found.cells, kept["cells"])
    ]
    assert "mean_entropy <small>nats</small>" in entropies[0] and "3 rows" in entropies[0]
    assert entropies[0] != "".join(entropies[1])
