"""`gatehouse runs rm`: remove a run from the lake, the marts and the results."""

import re
from collections.abc import Callable

from gatehouse.flows.console import document
from gatehouse.flows.steps.build import lock, rebuild
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import remove_folder
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import name_of
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.upkeep.removal import forget_removed, removing

OF_A_RUN = re.compile(r"-[0-9a-f]{10}\Z")
"""How the id of a run ends: other folders among the results are a person's own."""


def remove_run(
    run_id: str, paths: Paths, confirmed: Callable[[str], bool], *, form: str = "text"
) -> str:
    """Remove a run from the lake, its results, and it from the marts; say what was done.

    The prepared text stays: other runs may read it. Wherever this is killed or fails, the same
    call goes on.

    Args:
        run_id: a run, or the remnant of one.
        paths: the warehouse.
        confirmed: given a question that names what would go; nothing is touched unless it agrees.
        form: text, or json: run_id, removed (true or false), and marts, a line on what was built.

    Raises:
        GatehouseError: no such run, it is being captured, a build is at work, a folder cannot be
            written, or as `build`.
    """
    lake = Lake(paths.lake)
    if not _is_there(lake, run_id, paths):
        raise GatehouseError(f"there is no run {run_id!r}: `gatehouse status` lists the runs")
    results = paths.results(run_id)
    with lake.locks.writing(run_id):
        if not confirmed(f"remove {run_id} with its {_contents(lake, run_id)} and {results}?"):
            return _said(form, run_id, removed=False)
        # both locks are held before anything is touched
        with lock(paths), removing(lake, run_id):
            remove_folder(results)
            built = rebuild(paths) if paths.database.exists() else None
    # last, after the locks' files: a person may have named the run by it
    forget_removed(lake, run_id)
    return _said(form, run_id, removed=True, marts=built)


def _is_there(lake: Lake, run_id: str, paths: Paths) -> bool:
    """Return whether there is a run, what a killed removal left, or results of a killed report."""
    return (
        run_id in lake.run_ids()
        or lake.locks.has_been_locked(run_id)
        or name_of(lake.root, run_id) is not None
        or (OF_A_RUN.search(run_id) is not None and paths.results(run_id).is_dir())
    )


def _said(form: str, run_id: str, *, removed: bool, marts: str | None = None) -> str:
    if form == "json":
        return document({"run_id": run_id, "removed": removed, "marts": marts})
    if not removed:
        return f"{run_id} stays"
    return f"removed {run_id}; {marts}" if marts else f"removed {run_id}"


def _contents(lake: Lake, run_id: str) -> str:
    try:
        rows = lake.shards.recorded(run_id).values()
    except GatehouseError:
        return "damaged shards"
    size = sum(row["events_bytes"] + row["samples_bytes"] for row in rows)
    events = sum(row["events"] for row in rows)
    return f"{counted(len(rows), 'shard')} ({counted(events, 'event')}, {size / 1e6:,.1f} MB)"
