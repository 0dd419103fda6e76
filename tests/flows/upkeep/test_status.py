"""`gatehouse status` reads each record once, and says the same whatever it remembers."""

import json
import shutil

import pytest
from rich.console import Console
from rich.table import Table

from gatehouse.flows.upkeep import status
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.remembered import rows

ROWS = [
    ["a-run", "日本 model", ""],
    ["b", "x", "run it: `gatehouse`"],
    ["", "[bold]", "é:smile:"],
]


def test_what_is_remembered_says_the_same_and_is_not_decoded(run, captured, tmp_path, monkeypatch):
    home = shutil.copytree(captured, tmp_path / "home")
    first = [run("status", "--format", form, "--home", home) for form in ("text", "json")]
    assert (home / "remembered" / "rows").exists()
    monkeypatch.delattr(rows, "table_of")
    assert [run("status", "--format", form, "--home", home) for form in ("text", "json")] == first
    assert json.loads(first[1][1])["runs"][0]["finished_at"].endswith("+00:00")


def test_an_empty_home_stays_empty(run, home):
    assert run("status", "--home", home)[0] == 0
    assert not Paths(home).root.exists()


@pytest.mark.parametrize("width", [240, 45, 44, 20])
def test_columns_are_as_rich_makes_them(width):
    """Folded only where the terminal is too narrow."""
    console = Console(width=width, color_system=None, highlight=False, markup=False, emoji=False)
    table = Table("run", "naïve", "state", box=None)
    for row in ROWS:
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table)
    assert status._table(["run", "naïve", "state"], ROWS, console) == captured.get()
