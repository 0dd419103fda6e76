"""Every option that names what a command writes: nothing lands in the warehouse or on its files."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import typer

from gatehouse.flows.cli import app
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths


def options_that_name_paths() -> set[tuple[str, str]]:
    """Every option of every command whose value is a path, as (command, option)."""
    found: set[tuple[str, str]] = set()
    pending: list[tuple[str, Any]] = [("", typer.main.get_group(app.app))]
    while pending:
        words, command = pending.pop()
        for word, each in getattr(command, "commands", {}).items():
            pending.append((f"{words} {word}".strip(), each))
        for option in command.params:
            if option.type_descriptor.annotation is Path:
                found.add((words, option.opts[0]))
    return found


WRITING = {
    ("run", "--output"): [["run"], ["run", "--layer", "all"]],
    ("run", "--metrics"): [["run"]],
    ("capture", "--metrics"): [["capture"]],
    ("prepare", "--output-dir"): [["prepare", "--dataset", "TEXTS"]],
    ("validate", "--output"): [
        ["validate"],
        ["validate", "--sweep"],
        ["validate", "--input", "TABLE"],
    ],
    ("plot", "--output-dir"): [["plot"], ["plot", "--input", "TABLE", "--layer", "0"]],
    ("report", "--output"): [
        ["report"],
        ["report", "--compare", "RUN", "OTHER"],
        ["report", "--trend"],
    ],
    ("show", "--output"): [["show"]],
    ("trace", "--output"): [["trace", "some text"]],
    ("placement", "--output"): [["placement"]],
    ("export", "--output"): [
        ["export", "--to", "counts"],
        ["export", "--to", "huggingface"],
        ["export", "--to", "keep-list", "--keep", "2"],
        ["export", "--to", "lookup-table", "--most-frequent", "9"],
    ],
    ("sql", "--output"): [["sql", "select 1 as a"], ["sql", "--examples", "layers_at_a_glance"]],
}
"""Each such option that is written to, with every way in which its command writes."""


def test_every_option_that_names_an_output_is_tried_here():
    named = options_that_name_paths()
    reading = {each for each in named if each[1] in ("--home", "--input")}
    assert named - reading == set(WRITING)


@pytest.fixture
def targets(captured, tmp_path) -> list[Path]:
    """Names of what is the warehouse's own, in several spellings."""
    paths = Paths(captured)
    shard = next(paths.lake.glob("events/*/shard-00000.parquet"))
    (tmp_path / "link").symlink_to(paths.lake)
    return [
        shard,
        paths.lake / "x.csv",
        paths.root / "prepared" / ".." / "lake" / "runs",
        tmp_path / "link" / "x.html",
        Path(os.path.relpath(paths.lake / "events" / "x.txt")),
        paths.database,
        paths.prepared / "x.md",
    ]


def contents(captured: Path) -> dict[str, str]:
    places = [path for name in ("lake", "prepared") for path in (captured / name).rglob("*")]
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (*places, captured / "gatehouse.duckdb")
        if path.is_file() and "locks" not in path.parts
    }


@pytest.mark.parametrize(
    ("option", "words"), [(key[1], words) for key, ways in WRITING.items() for words in ways]
)
def test_what_belongs_to_the_warehouse_is_refused(run, captured, texts, targets, option, words):
    before, results = contents(captured), set((captured / "results").rglob("*"))
    (run_id,) = Lake(captured / "lake").run_ids()
    stands_for = {
        "TEXTS": str(texts),
        "TABLE": str(captured / "no such table.parquet"),
        "RUN": run_id,
        "OTHER": run_id,
    }
    words = [stands_for.get(word, word) for word in words]
    for target in targets:
        named = ["--format", "csv"] if words[0] == "sql" else []
        code, out, err = run(*words, option, target, *named, "--home", captured)
        assert (code, out, err.count("\n")) == (2, "", 1), (target, err)
        assert "belongs to the warehouse: name another" in err, (target, err)
    assert contents(captured) == before
    assert set((captured / "results").rglob("*")) == results


def test_the_flow_and_the_library_refuse_it_too(captured, monkeypatch):
    import gatehouse
    from gatehouse.flows.pipeline import pipeline

    monkeypatch.setenv("GATEHOUSE_HOME", str(captured))
    for begin in (gatehouse.run, pipeline.fn):
        with pytest.raises(GatehouseError, match="belongs to the warehouse"):
            begin(output=captured / "lake" / "events" / "routing_stats.parquet")


def test_a_folder_around_the_warehouse_or_of_others_is_refused(run, captured, texts, tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "mine.txt").write_text("mine")
    for words in (
        *(["run", "--output"], ["plot", "--output-dir"], ["validate", "--output"]),
        ["export", "--to", "huggingface", "--output"],
    ):
        for folder, says in (
            (captured, "the warehouse lies in"),
            (captured.parent, "the warehouse lies in"),
            (tmp_path / "others", "holds other files"),
        ):
            code, _, err = run(*words, folder, "--home", captured)
            assert (code, err.count("\n")) == (2, 1) and says in err, (words, err)
    code, _, err = run("prepare", "--dataset", texts, "--output-dir", tmp_path, "--home", captured)
    assert code == 2 and "holds other files" in err


def test_a_runs_results_belong_to_that_run(run, captured):
    lake, results = captured / "lake", captured / "results"
    (run_id,) = (each.name.removeprefix("run_id=") for each in (lake / "runs").iterdir())
    (lake / "runs" / "run_id=another").mkdir()
    try:
        other = results / "another" / "mine.txt"
        for words in (["validate"], ["validate", "--sweep"], ["validate", "--run", run_id]):
            code, _, err = run(*words, "--output", other, "--home", captured)
            assert code == 2 and "belongs to the warehouse" in err
        assert run("validate", "--output", results / run_id / "my.txt", "--home", captured)[0] == 0
        code, _, err = run("plot", "--output-dir", results / "another", "--home", captured)
        assert code == 2 and "belongs to the warehouse" in err
    finally:
        (lake / "runs" / "run_id=another").rmdir()
