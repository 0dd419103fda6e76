"""`gatehouse verify`: what is wrong with the lake and the marts, and mending what can be mended."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import duckdb

from gatehouse.flows.console import bar, document, working
from gatehouse.flows.steps.build import remove_leftovers
from gatehouse.flows.upkeep.aside import set_aside
from gatehouse.flows.upkeep.mend import mend, mend_marts
from gatehouse.warehouse.connect import connect, errors_in_one_line
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import name_of
from gatehouse.warehouse.paths import Paths, is_run_id
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.remembered.rows import remembered_rows
from gatehouse.warehouse.remembered.verified import Subject, Unread, Verified
from gatehouse.warehouse.upkeep.agreement import (
    compared_rows,
    disagreements,
    runs_in_marts,
    unreadable_tables,
)
from gatehouse.warehouse.upkeep.health import (
    BUILD,
    CAPTURE,
    RECORD,
    REMOVE,
    SET_ASIDE,
    Problem,
    strangers,
)
from gatehouse.warehouse.upkeep.verification import verify

MENDING = {
    CAPTURE: " (--repair captures it again)",
    SET_ASIDE: " (--repair sets it aside)",
    REMOVE: " (--repair removes it)",
    RECORD: " (--repair records the shards that are there)",
    BUILD: " (--repair builds the marts afresh)",
}
DATABASE, ITS_ROWS = "the database", "its rows"
"""What is found right beside the runs."""


def verify_runs(
    run_id: str | None,
    paths: Paths,
    *,
    every_byte: bool = False,
    repair: bool = False,
    trust_remote_code: bool = False,
    form: str = "text",
) -> tuple[str, bool]:
    """Check one run, or all; return what was found, and whether all is well.

    Args:
        run_id: None for all runs of the lake and of the marts.
        paths: the warehouse.
        every_byte: read what is unchanged since it was found right, too; a repair always does.
        repair: mend what can be mended: capture bad shards again, set strange files aside,
            rebuild the marts.
        trust_remote_code: run the code in the model's repository when capturing again.
        form: text, a line for each run and each problem, and one on what was not read; or json:
            home, well, what `_counts` returns, and for each of runs its run_id, name, shards,
            events, the same counts, and problems (what, shard, cure).

    Raises:
        GatehouseError: no such run, or one that cannot be captured again, and why.
    """
    with remembered_rows(paths.remembered) as rows:
        lake = Lake(paths.lake, rows)
        known = lake.run_ids()
        if run_id is not None and run_id not in known:
            raise GatehouseError(f"there is no run {run_id!r}: `gatehouse status` lists the runs")
        chosen = known if run_id is None else [run_id]
        verified = Verified(paths.remembered / "verified", distrusted=every_byte or repair)
        found = _problems(lake, chosen, paths, verified)
        for stranger in strangers(lake) if run_id is None else ():
            found.setdefault(stranger.run_id, []).append(stranger)
        if repair:
            # of a repair, too, that was killed when all that it had found was mended
            lake.locks.remove_abandoned()
            remove_leftovers(paths)
        if repair and any(found.values()):
            for path in lake.strangers() if run_id is None else ():
                set_aside(path, paths)
            for name in known:
                if problems := found.get(name):
                    mend(lake, name, problems, paths, trust_remote_code)
            mend_marts(found, paths)
            left = set(lake.run_ids())
            there = [name for name in found if name in left]
            verified = Verified(paths.remembered / "verified", distrusted=True)
            found = _problems(lake, there, paths, verified)
        return _answer(lake, found, paths, verified, form), not any(found.values())


def _problems(
    lake: Lake, run_ids: list[str], paths: Paths, verified: Verified
) -> dict[str, list[Problem]]:
    found: dict[str, list[Problem]] = {}
    shards = count(1)
    try:
        with bar("verifying shards", None) as moved:
            with lake.storage.listed_once(lake.root) as listed:
                for run_id in run_ids:
                    found[run_id] = verify(
                        lake, run_id, lambda: moved(next(shards)), verified.of(run_id)
                    )
            # what landed after the listing would be missing
            for run_id in [name for name in run_ids if listed and found[name]]:
                found[run_id] = verify(lake, run_id, lambda: None, verified.of(run_id))
        if paths.database.exists():
            with working("comparing the marts with the lake"):
                wrong = _problems_of_marts(lake, run_ids, found, paths, verified.of(DATABASE))
            for problem in wrong:
                found.setdefault(problem.run_id, []).append(problem)
    finally:
        # what was found right before Ctrl-C need not be read again, either
        verified.remember([*lake.run_ids(), DATABASE])
    return found


def _problems_of_marts(
    lake: Lake,
    run_ids: list[str],
    found: dict[str, list[Problem]],
    paths: Paths,
    verified: Subject,
) -> list[Problem]:
    try:
        with closing(connect(paths)) as connection, errors_in_one_line():
            compared = _rows_of_marts(connection, paths, verified)
            built = runs_in_marts(connection)
            finished = {name for name, record in lake.runs().items() if record["finished_at"]}
            gone = sorted(name for name in built - finished if lake.is_readable(name))
            problems = [
                Problem(name, "is in the marts but is not a finished run of the lake", BUILD)
                for name in gone
            ]
            # what is wrong in the lake would be found a second time
            whole = [
                name
                for name in run_ids
                if name in built and name not in gone and not found.get(name)
            ]
            problems += _disagreeing(connection, lake, whole, compared, verified)
    except GatehouseError as error:
        # a lake that has lost all its runs may have marts
        return [Problem((run_ids or [paths.database.stem])[0], str(error), BUILD)]
    return problems


def _rows_of_marts(
    connection: duckdb.DuckDBPyConnection, paths: Paths, verified: Subject
) -> dict[str, str]:
    """Return what `compared_rows` does, after reading every table of a database that has changed.

    Raises:
        GatehouseError: a table cannot be read.
    """
    files = [paths.database, Path(f"{paths.database}.wal")]
    known: dict[str, str] | None = verified.still(ITS_ROWS, files=files)
    if known is not None:
        return known
    if unreadable := unreadable_tables(connection):
        raise GatehouseError(f"the database is damaged: {unreadable[0]}")
    compared = compared_rows(connection)
    verified.found_right(ITS_ROWS, compared)
    return compared


def _disagreeing(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    run_ids: list[str],
    compared: dict[str, str],
    verified: Subject,
) -> Iterator[Problem]:
    """Yield where the marts differ from events that are as recorded, unless neither has changed."""
    totals, of_counts = {}, []
    for name in run_ids:
        counts = lake.file("counts", name)
        if lake.storage.is_there(counts):
            if not verified.still(name, compared.get(name), [counts]):
                of_counts.append(name)
            continue
        rows = lake.shards.recorded(name).values()
        of_run = {each: sum(row[each] for row in rows) for each in ("samples", "tokens", "events")}
        hashes = [row["events_sha256"] for row in rows]
        if not verified.still(name, [compared.get(name), of_run, hashes]):
            totals[name] = of_run
    for name, sentences in disagreements(connection, totals, of_counts).items():
        for what in sentences:
            yield Problem(name, f"the marts disagree with the lake: {what}", BUILD)
        if not sentences:
            verified.found_right(name)


def _answer(
    lake: Lake, found: dict[str, list[Problem]], paths: Paths, verified: Verified, form: str
) -> str:
    every = Unread.of_all(verified.of(name).unread for name in found)
    if form == "json":
        runs = [_entry(lake, name, each, verified.of(name).unread) for name, each in found.items()]
        well = not any(found.values())
        return document({"home": str(paths.root), "well": well, **_counts(every), "runs": runs})
    lines = [
        line
        for name, problems in found.items()
        for line in _lines(lake, name, problems, verified.of(name).unread)
    ]
    if every.unchanged:
        lines.append(_left_out(every, verified.of(DATABASE).unread))
    elif lines and not any(found.values()):
        lines.append(f"every byte of {counted(every.files, 'file')} was read")
    return "\n".join(lines or [f"no runs in {paths.lake}"])


def _counts(unread: Unread) -> dict[str, Any]:
    """Return how many files were asked of, how many of them are unchanged, and since when."""
    since = unread.since
    return {"files": unread.files, "files_unchanged": unread.unchanged, "unchanged_since": since}


def _left_out(lake: Unread, database: Unread) -> str:
    too = ", and the database," if database.unchanged else ""
    since = min(each.since for each in (lake, database) if each.since)
    return (
        f"{lake.unchanged:,} of {counted(lake.files, 'file')}{too} unchanged since they were "
        f"verified on {since:%Y-%m-%d %H:%M UTC} or later: `gatehouse verify --all` reads them too"
    )


def _entry(lake: Lake, run_id: str, problems: list[Problem], unread: Unread) -> dict[str, Any]:
    try:
        rows = lake.shards.recorded(run_id).values()
    except GatehouseError:  # a shard's record is damaged, as the problems say
        rows = None
    return {
        "run_id": run_id,
        "name": name_of(lake.root, run_id) if is_run_id(run_id) else None,
        "shards": None if rows is None else len(rows),
        "events": None if rows is None else sum(row["events"] for row in rows),
        **_counts(unread),
        "problems": [
            {"what": each.what, "shard": each.shard, "cure": each.cure} for each in problems
        ],
    }


def _lines(lake: Lake, run_id: str, problems: list[Problem], unread: Unread) -> list[str]:
    if not problems:
        rows = lake.shards.recorded(run_id).values()
        events = sum(row["events"] for row in rows)
        held = f"{counted(len(rows), 'shard')}, {counted(events, 'event')}"
        # its record and those of its shards are always read
        left = f" ({unread.unchanged:,} of {counted(unread.files, 'file')} not read again)"
        return [f"{run_id}: {held}, as recorded and lawful{left if unread.unchanged else ''}"]
    return [
        f"{run_id}: {problem.what}{MENDING.get(problem.cure or '', '')}" for problem in problems
    ]
