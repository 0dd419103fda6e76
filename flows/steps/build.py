"""The dbt project over the lake: a new database is built and tested, then put in place.

A build adds what is new to a copy of the previous database. Readers keep the previous marts until
the new ones are whole; a build that fails or is killed changes nothing.
"""

import errno
import os
import shutil
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

import duckdb

from gatehouse.flows.console import say, short_path, working
from gatehouse.flows.request import Workers
from gatehouse.flows.steps.building import on_workers
from gatehouse.flows.steps.building.checks import check_descriptions, checked_to_build
from gatehouse.flows.steps.building.command import Dbt, fingerprint, name_home, opened
from gatehouse.flows.steps.dbt_runs import parse_ahead
from gatehouse.flows.steps.machine import share_of_machine
from gatehouse.warehouse.connect import DAMAGED
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import cannot_write, make_folder
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import DBT_PROJECT, Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.replays import parts
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.upkeep.health import Health
from gatehouse.warehouse.writers.locks import exclusive, exclusive_after_waiting, holder

SMALLEST_ROOM = 1 << 20
"""Bytes: DuckDB writes blocks of 256 KiB, so on a disk with less left it has run out of room."""


def build(
    paths: Paths, *, afresh: bool = False, workers: Workers | None = None, waits: bool = False
) -> str:
    """Build and test every model over the finished runs; return one line on what was built.

    Shards and runs that the previous database holds are not read again, unless a different version
    of the models or of DuckDB built it, or `afresh` is set.

    Args:
        paths: of the warehouse.
        afresh: whether all is built again.
        workers: processes that share what is computed layer by layer; otherwise it is this one.
        waits: whether it builds after another process that does; otherwise it is refused.

    Raises:
        GatehouseError: no run has finished, a model or test failed (named), the disk is full, or
            as `on_workers.build`.
    """
    if (paths.root / "building").exists() and not finished_runs(paths):
        with lock(paths):
            _remove_leftovers(paths)
    seen = checked_to_build(Lake(paths.lake))
    if waits:
        with _lock_after_others(paths):
            # they may have landed more meanwhile
            return _built(paths, checked_to_build(Lake(paths.lake)), afresh, workers)
    with lock(paths):
        return _built(paths, seen, afresh, workers)


def _built(
    paths: Paths, seen: dict[str, Health], afresh: bool, workers: Workers | None = None
) -> str:
    """Build as `build` does, of a checked lake and under its lock."""
    finished = [run_id for run_id, health in seen.items() if health.is_finished]
    runs = counted(len(finished), "finished run")
    building = paths.root / "building" / paths.database.name
    _remove_leftovers(paths)
    if not afresh and _holds(paths, seen):
        return f"nothing new in {runs}: {short_path(paths.database)}"
    check_descriptions(Lake(paths.lake), finished)
    make_folder(building.parent)
    try:
        if not afresh:
            _start_from(paths.database, building)
        nodes = _dbt(paths, building, workers)
        _is_whole(building)
        os.replace(building, paths.database)
    except GatehouseError as error:
        # what is damaged in the previous database may show only now
        if afresh or not DAMAGED.search(str(error)):
            raise
        say(f"{short_path(paths.database)} is damaged: building afresh")
        return _built(paths, seen, afresh=True, workers=workers)
    finally:
        _remove_leftovers(paths)
    kinds = [node.resource_type for node in nodes]
    return (
        f"built {kinds.count('model')} models over {runs}, "
        f"{kinds.count('test')} tests passed: {short_path(paths.database)}"
    )


def begin_to_parse(paths: Paths) -> None:
    """Let dbt parse the project in the background, unless that is done; a build waits for it."""
    name_home(paths.database)
    parse_ahead(paths.dbt_target)


def rebuild(paths: Paths, *, afresh: bool = False) -> str:
    """Build after a run was removed or mended; if no finished run is left, remove the database.

    The caller holds `lock`: it has changed the lake under it.

    Raises:
        GatehouseError: as `build`.
    """
    if finished_runs(paths):
        return _built(paths, checked_to_build(Lake(paths.lake)), afresh)
    _remove_leftovers(paths)
    paths.database.unlink(missing_ok=True)
    return f"no finished run is left: {short_path(paths.database)} is removed"


def finished_runs(paths: Paths) -> list[str]:
    """Return the lake's finished runs."""
    runs = Lake(paths.lake).runs()  # a damaged record is named by what needs it
    return [run_id for run_id, record in runs.items() if record["finished_at"]]


def _remove_leftovers(paths: Paths) -> None:
    """Remove what a killed build left, of which nothing can be used; the caller holds the lock."""
    shutil.rmtree(paths.root / "building", ignore_errors=True)


def remove_leftovers(paths: Paths) -> None:
    """Remove what a killed build left, unless another one is at work."""
    building, held = paths.root / "building", paths.root / "building.lock"
    if (building.exists() or held.exists()) and holder(held) is None:
        with suppress(GatehouseError), lock(paths):
            _remove_leftovers(paths)


def lock(paths: Paths) -> AbstractContextManager[None]:
    """Hold the lock of the one process that may write the database.

    Raises:
        GatehouseError: another process holds it; the message names that process.
    """
    return exclusive(
        _lock_file(paths),
        lambda other: (
            f"another build is writing {paths.root / 'building'} ({other}): wait for it to end and "
            "run the same command"
        ),
    )


def _lock_after_others(paths: Paths) -> AbstractContextManager[None]:
    def waiting(other: str) -> None:
        say(f"waiting for another build ({other})")

    return exclusive_after_waiting(_lock_file(paths), waiting)


def _lock_file(paths: Paths) -> Path:
    return paths.root / "building.lock"


def _holds(paths: Paths, seen: dict[str, Health]) -> bool:
    """Return whether the database is what a build of today's lake would make."""
    if _builder(paths.database) != fingerprint():
        return False
    try:
        return _counted(paths, seen)
    except duckdb.Error:  # damaged, which shows when it is read
        return False


def _counted(paths: Paths, seen: dict[str, Health]) -> bool:
    """Return whether the database counts the shards and parts of replays that lie in the lake."""
    lake = Lake(paths.lake)
    finished = {run_id for run_id, health in seen.items() if health.is_finished}
    shards = [
        lake.shard_file("events", run_id, shard)
        for run_id, health in seen.items()
        for shard in health.intact
    ]
    replayed = [path for run_id in finished for path in parts(lake, run_id)]
    with closing(opened(paths.database, paths.lake)) as connection:
        built = connection.execute("select run_id from stg_runs").fetchall()
        return {run_id for (run_id,) in built} == finished and all(
            _lists(connection, paths, ledger, files)
            for ledger, files in (("stg_shards", shards), ("stg_replay_parts", replayed))
        )


def _lists(
    connection: duckdb.DuckDBPyConnection, paths: Paths, ledger: str, files: list[Place]
) -> bool:
    """Return whether a ledger lists these files, as they are now, and no others."""
    listed = "select filename, size, last_modified from read_blob($files)"
    counted = connection.table(ledger).project("path, bytes, modified_at").fetchall()
    names = [str(path) for path in files]
    # one listing of a bucket is one request, and says of times what the build's own says
    named = sorted({str(path.parent.parent / "run_id=*" / "*") for path in files})
    asked = {"files": named if paths.bucket else names}
    landed = connection.execute(listed, asked).fetchall() if files else []
    return sorted(counted) == sorted(row for row in landed if row[0] in set(names))


def _start_from(previous: Path, building: Path) -> None:
    """Copy the previous database, if its fingerprint is today's."""
    if _builder(previous) != fingerprint():
        return
    try:
        shutil.copyfile(previous, building)
    except OSError as error:
        raise cannot_write(building, error) from error


def _builder(database: Path) -> str | None:
    """Return the fingerprint stored in a database; None if it lacks that or a table."""
    if not database.exists():
        return None
    models = {path.stem for path in (DBT_PROJECT / "models").rglob("*.sql")}
    # views over the lake, of other names in the database
    models -= {path.stem for path in (DBT_PROJECT / "models" / "staging").glob("*.sql")}
    try:
        with closing(duckdb.connect(str(database), read_only=True)) as connection:
            row = connection.execute("select fingerprint from stg_build").fetchone()
            there = connection.execute("select distinct table_name from duckdb_columns()")
            return row[0] if row and models <= {name for (name,) in there.fetchall()} else None
    except duckdb.Error:
        return None


def _dbt(paths: Paths, database: Path, workers: Workers | None) -> list[Any]:
    """Build and test every model in a database; return the models and tests."""
    dbt = Dbt(paths.lake, database, paths.dbt_target, share_of_machine())
    if workers:
        return on_workers.build(dbt, workers)
    with working("building and testing marts"):
        return dbt.run("build", "--exclude-resource-type", "unit_test")


def _is_whole(database: Path) -> None:
    """Make sure that DuckDB has moved everything from its log into the database.

    Raises:
        GatehouseError: it has not; it says nothing when the disk is full while it closes a file.
    """
    log = database.with_name(f"{database.name}.wal")
    if log.exists():
        is_full = shutil.disk_usage(log.parent).free < max(log.stat().st_size, SMALLEST_ROOM)
        number = errno.ENOSPC if is_full else errno.EIO
        raise cannot_write(database, OSError(number, f"{log.name} is left"))
