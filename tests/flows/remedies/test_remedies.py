"""Every remedy that is printed works: after its fault, it is carried out as it is printed."""

import contextlib
import io
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gatehouse.flows.steps.building import command
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.writers import locks
from tests.flows.conftest import gatehouse
from tests.flows.remedies import of_the_lake
from tests.flows.remedies.remedy import Place, Remedy
from tests.flows.remedies.table import TABLE

UNDOCUMENTED = {
    "index.html": "<head></head>",
    "manifest.json": '{"parent_map": {}, "exposures": {}, "nodes": {}}',
    "catalog.json": "{}",
}
"""What dbt writes of a project without anything."""


class Agreed(io.StringIO):
    """A terminal at which somebody agrees to what is asked."""

    def __init__(self) -> None:
        super().__init__("y\n" * 9)

    def isatty(self) -> bool:
        return True


@pytest.fixture
def place(row, tmp_path, captured, tiny_mixtral, monkeypatch, capfd) -> Place:
    """A copy of the captured warehouse; dbt, which takes seconds, gives a database built before.

    Faults of the lake come without the marts, which every `verify` would compare with it.
    """
    left_out = ["dbt", *(["gatehouse.duckdb"] if row in of_the_lake.ROWS else [])]
    home = shutil.copytree(captured, tmp_path / "home", ignore=shutil.ignore_patterns(*left_out))
    (run,) = Lake(home / "lake").run_ids()
    database = captured / "gatehouse.duckdb"

    def run_dbt(words, target) -> SimpleNamespace:
        if words[0] == "build":
            shutil.copy(database, os.environ["GATEHOUSE_DATABASE"])
        if words[0] == "docs":
            target.mkdir(exist_ok=True)
            for name, content in UNDOCUMENTED.items():
                (target / name).write_text(content)
        return SimpleNamespace(success=True, exception=None, result=SimpleNamespace(results=[]))

    def typed(*words: object) -> tuple[int, str]:
        code, out, err = gatehouse(monkeypatch, capfd, *words)
        return code, out + err

    monkeypatch.setattr(command, "run_dbt", run_dbt)
    monkeypatch.setattr(locks, "SECONDS_OF_A_LOOK", 0)
    monkeypatch.setattr(sys, "stdin", Agreed())
    monkeypatch.setenv("GATEHOUSE_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    corpus = captured.parent / "texts.jsonl"
    with contextlib.ExitStack() as opened:
        yield Place(tmp_path, run, Path(tiny_mixtral), corpus, opened, monkeypatch, typed)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.fault}: {row.meets.split(' --')[0]}")
def test_a_remedy_works_after_its_fault(row: Remedy, place: Place):
    row.make(place)
    code, said = place.carry_out(row.meets)
    assert row.is_in(said), said
    assert code != 0 or row.meets.startswith("gatehouse status"), said
    row.by_hand(place)
    for words in row.commands:
        code, said = place.carry_out(words)
        assert code == 0, (words, said)
    code, said = place.carry_out(row.last)
    assert code == 0 and not row.is_in(said), said


def test_what_is_carried_out_is_what_is_printed():
    for row in TABLE:
        assert row.remedy in row.says
        assert all(is_printed(command, row) for command in row.commands), row


def is_printed(command: str, row: Remedy) -> bool:
    """Return whether a command is printed, or the first one with more, or the run's capture."""
    beginnings = [words.split()[:2] for words in re.findall(r"`([^`]+)`", row.says)]
    again = "again" in row.remedy and command.startswith("gatehouse capture")
    return again or command.startswith(row.meets) or command.split()[:2] in beginnings
