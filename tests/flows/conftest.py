"""The command line in this process, and a small warehouse that it made."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatehouse.flows import console
from gatehouse.flows.cli import app
from gatehouse.warehouse.paths import Paths


def gatehouse(monkeypatch, capfd, *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return (exit code, standard output, standard error)."""
    monkeypatch.setattr(sys, "argv", ["gatehouse", *map(str, arguments)])
    # a slow machine must not add signs of life to what is compared
    monkeypatch.setattr(console, "SECONDS_OF_SILENCE", 10_000)
    try:
        app.main()
    except SystemExit as ended:
        code = ended.code or 0
    out, err = capfd.readouterr()
    return int(code), out, err


def build_of(paths: Paths, *models: str) -> None:
    """Build some models, all that they are made of, and what dbt tests of these alone."""
    from gatehouse.flows.steps.building.command import Dbt
    from gatehouse.flows.steps.machine import share_of_machine

    dbt = Dbt(paths.lake, paths.database, paths.dbt_target, share_of_machine())
    selected = ("--select", *(f"+{model}" for model in models), "--indirect-selection", "cautious")
    dbt.run("build", *selected, "--exclude-resource-type", "unit_test")


@pytest.fixture
def run(monkeypatch, capfd, home):
    """`run(*arguments)`: what the command line returns and prints."""
    return lambda *arguments: gatehouse(monkeypatch, capfd, *arguments)


@pytest.fixture(scope="session")
def captured(tmp_path_factory, tiny_mixtral) -> Path:
    """A home with an odd name and one finished, built run: 60 texts, 3 MoE layers."""
    import random

    from gatehouse.flows.request import RunRequest
    from gatehouse.flows.steps import build, capture

    folder = tmp_path_factory.mktemp("captured")
    generator = random.Random(3)
    words = "router expert token layer gate load entropy the of and a to in is".split()
    texts = [{"text": " ".join(generator.choices(words, k=40))} for _ in range(60)]
    corpus = folder / "texts.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in texts))
    # DuckDB and dbt must take quotes and pattern characters literally
    paths = Paths(folder / "it's [a] *home é")
    request = RunRequest(model=str(tiny_mixtral), dataset=str(corpus), max_length=128)
    capture.capture(request, paths)
    build.build(paths)
    return paths.root


@pytest.fixture(scope="session")
def pristine(captured, tmp_path_factory) -> Path:
    """What the captured home holds, kept aside."""
    return shutil.copytree(captured, tmp_path_factory.mktemp("pristine") / "home")


@pytest.fixture
def unmoved(captured, pristine) -> Iterator[Paths]:
    """The captured home itself, to be written into, and put back afterwards.

    A copy has to be built once more before a command uses it: its lake is in another folder.
    """
    yield Paths(captured)
    shutil.rmtree(captured)
    shutil.copytree(pristine, captured)
