"""Names and tokens that would steer a terminal: no command prints them as they are."""

import json
import shutil
from pathlib import Path

import pytest

from gatehouse.warehouse.lake import Lake

HOSTILE = "a\x1b]0;x\a\x1b[31m\u202etxt"
STEERING = ("\x1b", "\a", "\u202e")


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_mixtral) -> Path:
    """A folder with a model, a text and a table whose names and contents are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(tiny_mixtral, folder / f"{HOSTILE}-model")
    rows = [
        {
            "text": f"the router {HOSTILE} sends every token {HOSTILE} to two experts {number}",
            "id": f"{HOSTILE}{number}",
            "domain": f"{HOSTILE}{number % 2}",
            "document": f"{HOSTILE}{number}",
        }
        for number in range(40)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{HOSTILE}.jsonl").write_text(text)
    return folder


def test_no_command_steers_the_terminal(run, place, quick_figures):
    home = place / "home"
    model, dataset = place / f"{HOSTILE}-model", place / f"{HOSTILE}.jsonl"
    of_text = ("--dataset", dataset, "--document-field", "document", "--home", home)

    def said(*words: object, code: int = 0) -> str:
        ended, out, err = run(*words)
        assert ended == code, err
        assert not [mark for mark in STEERING if mark in out + err], words
        return out + err

    assert "\\x1b" in said("prepare", *of_text)
    assert "\\x1b" in said("fetch", "--model", model, "--analyze-structure", "--test")
    said("capture", "--dry-run", "--model", model, *of_text)
    said("capture", "--model", model, *of_text)
    said("capture", "--model", model, *of_text)
    said("capture", "--model", model, "--dataset", place / f"{HOSTILE}-none.txt", code=2)
    said("build", "--home", home)
    (run_id,) = Lake(home / "lake").runs()
    for form in ("text", "json"):
        shown = said("status", "--home", home, "--format", form)
        assert ("\\x1b" if form == "text" else "\\u001b") in shown
        said("verify", "--home", home, "--format", form)
    said("validate", "--home", home, "--layer", "all")
    assert "\\u202e" in said("validate", "--home", home, "--sweep")
    table = place / f"{HOSTILE}.csv"
    said("sql", "from fct_token_routing where layer = 0", "--output", table, "--home", home)
    assert "\\u202e" in said("validate", "--input", table)
    said("plot", "--home", home, "--output-dir", place / f"{HOSTILE}-figures")
    said("report", "--home", home, "--output", place / f"{HOSTILE}.html")
    for form in ("table", "json", "markdown"):
        said("sql", "from vocabulary", "--format", form, "--home", home)
        said("sql", "select name, domain from samples", "--format", form, "--home", home)
    said("sql", f"select '{HOSTILE}' as \"{HOSTILE}\"", "--home", home)
    said("sql", f'select "{HOSTILE}"', "--home", home, code=2)
    said("runs", "rm", HOSTILE, "--home", home, code=2)
    said("runs", "rm", run_id, "--yes", "--home", home)
