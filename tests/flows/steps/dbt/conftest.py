"""A project of one model, and dbt run on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gatehouse.flows.steps import dbt_runs
from tests.flows.steps.dbt.small_project import live_in, write_small


@pytest.fixture
def home(tmp_path, monkeypatch) -> None:
    """A home of the test's own, and an empty cache."""
    monkeypatch.setenv("GATEHOUSE_CACHE", str(tmp_path / "cache"))
    live_in(tmp_path / "home", monkeypatch)


@pytest.fixture
def small(home, tmp_path) -> Path:
    """A project of one model."""
    return write_small(tmp_path / "project")


@pytest.fixture
def run(small, tmp_path) -> Callable:
    """`run(*command)`: what dbt makes of the small project."""
    return lambda *command: dbt_runs.run_dbt(command, tmp_path / "target", small)
