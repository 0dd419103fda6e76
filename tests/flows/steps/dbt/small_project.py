"""A dbt project of one model, and the home that dbt is told of."""

from pathlib import Path

import pytest

from gatehouse.warehouse.paths import Paths

SETTINGS = "{name: small, profile: gatehouse, flags: {send_anonymous_usage_stats: false}}"


def live_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("GATEHOUSE_DATABASE", str(home / "gatehouse.duckdb"))
    monkeypatch.setenv("GATEHOUSE_LAKE", str(Paths(home).lake))


def write_small(project: Path) -> Path:
    """Write the project, and return its folder."""
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(SETTINGS)
    (project / "models" / "one.sql").write_text("select 1 as one")
    return project
