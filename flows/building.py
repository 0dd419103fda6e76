"""The dbt project over the lake: a new database is built and tested, then put in place.

Readers keep the previous marts until the new ones are whole; a build that fails changes nothing.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from flows.console import shown
from warehouse.errors import GatehouseError
from warehouse.lake import Lake, make_folder
from warehouse.paths import DBT_PROJECT, Paths


def build(paths: Paths) -> str:
    """Build and test every model over the finished runs; return one line on what was built.

    Raises:
        GatehouseError: no run has finished, or a model or test failed (named).
    """
    runs = _finished_runs(paths)
    building = paths.root / "building" / paths.database.name
    make_folder(building.parent)
    _discard_leftover(building)
    try:
        result = _dbt(paths, building, "build", "--exclude-resource-type", "unit_test")
        os.replace(building, paths.database)
    finally:
        shutil.rmtree(building.parent, ignore_errors=True)
    nodes = [node.node.resource_type for node in result.results]
    return (
        f"built {nodes.count('model')} models over {len(runs)} finished runs, "
        f"{nodes.count('test')} tests passed: {shown(paths.database)}"
    )


def docs(paths: Paths) -> Path:
    """Write dbt's documentation of the built warehouse as one HTML file and return it.

    Raises:
        GatehouseError: there is no warehouse yet, or dbt failed.
    """
    if not paths.database.exists():
        raise GatehouseError(f"there is no {paths.database} yet: run `gatehouse build` first")
    _dbt(paths, paths.database, "docs", "generate", "--static")
    return paths.dbt_target / "static_index.html"


def _finished_runs(paths: Paths) -> list[str]:
    runs = Lake(paths.lake).runs()
    finished = [run_id for run_id, record in runs.items() if record["finished_at"]]
    if not finished:
        raise GatehouseError(
            f"no run in {paths.lake} has finished: `gatehouse capture` lands or resumes one"
        )
    return finished


def _discard_leftover(building: Path) -> None:
    """Delete what a killed build left; a build that is running holds DuckDB's lock on it."""
    try:
        duckdb.connect(str(building)).close()
    except duckdb.IOException as error:
        raise GatehouseError(
            f"another build is writing {building}: wait for it to end and run the same command"
        ) from error
    building.unlink()


def _dbt(paths: Paths, database: Path, *command: str) -> Any:
    """Run one dbt command quietly in this process and return its result."""
    os.environ["GATEHOUSE_DATABASE"] = str(database)
    os.environ["GATEHOUSE_LAKE"] = str(paths.lake)
    os.environ["DO_NOT_TRACK"] = "1"
    from dbt.cli.main import dbtRunner

    outcome = dbtRunner().invoke(
        [
            "--quiet",
            "--log-level",
            "none",
            *command,
            "--project-dir",
            str(DBT_PROJECT),
            "--profiles-dir",
            str(DBT_PROJECT),
            "--target-path",
            str(paths.dbt_target),
            "--log-path",
            str(paths.dbt_target / "logs"),
        ]
    )
    if not outcome.success:
        raise GatehouseError(
            f"dbt {command[0]} failed: {_reason(outcome)}; what was built before is untouched: "
            "put that right and run the same command again"
        )
    return outcome.result


def _reason(outcome: Any) -> str:
    """Name the first node that failed, and how, on one line."""
    for node in getattr(outcome.result, "results", []):
        if node.status in ("error", "fail", "runtime error"):
            return f"{node.node.name}: {' '.join(str(node.message).split())[:200]}"
    return " ".join(str(outcome.exception).split())[:300]
