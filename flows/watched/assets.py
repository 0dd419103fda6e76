"""Assets: what a flow makes and of what, so that Prefect's events and lineage know it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.assets import Asset, AssetProperties
from prefect.tasks import MaterializingTask

from gatehouse.flows import prefect_settings
from gatehouse.ingest.prepare import Prepared
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths, file_address
from gatehouse.warehouse.storage.places import Place

NOT_IN_KEYS = re.compile(r"[\s\0#?&%\"'<>\[\]{}|\\^`]")
"""Characters that Prefect takes in no key of an asset."""

LONGEST_KEY = 512


def text_of(prepared: Prepared) -> Asset:
    """Return the prepared text of a run."""
    return _asset(prepared.path, f"text of {Path(prepared.dataset).name}", "Numbered samples.")


def lake_of(run_id: str, paths: Paths) -> Asset:
    """Return the events of a run."""
    folder = Lake(paths.lake).folder("events", run_id)
    return _asset(folder, f"events of {run_id}", "A row per sample, position and MoE layer.")


def marts_of(paths: Paths) -> Asset:
    """Return the database of the marts."""
    return _asset(paths.database, "marts", "DuckDB; dbt is its only writer.")


def report_of(run_id: str, page: Path) -> Asset:
    """Return the report of a run."""
    return _asset(page, f"report of {run_id}", "The self-contained page.")


def making(
    task: Task[..., Any], made: Asset, of: list[Asset], by: str | None = None
) -> Callable[..., Any]:
    """Return the task as one that tells the server what it makes; as it is where nobody watches.

    Args:
        task: the task.
        made: what it makes.
        of: what that is made of.
        by: the tool that makes it.
    """
    if not prefect_settings.somebody_watches():
        return task
    return MaterializingTask(
        fn=task.fn,
        assets=[made],
        materialized_by=by,
        asset_deps=[*of],
        name=task.name,
        description=task.description,
        task_run_name=task.task_run_name,
        cache_policy=task.cache_policy,
        timeout_seconds=task.timeout_seconds,
        retries=task.retries,
        retry_delay_seconds=task.retry_delay_seconds,
        retry_condition_fn=task.retry_condition_fn,
    )


def _asset(place: Place, name: str, description: str) -> Asset:
    url = file_address(place) if isinstance(place, Path) else str(place)
    key = f"file://{place.absolute().as_posix()}" if isinstance(place, Path) else str(place)
    properties = AssetProperties(name=name, url=url, description=description)
    return Asset(key=NOT_IN_KEYS.sub("-", key)[:LONGEST_KEY], properties=properties)
