"""What the names and sizes of the lake's files show, and what mends it where something is wrong."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from gatehouse.warehouse import replays
from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.plain_text import printable
from gatehouse.warehouse.records import COUNTED
from gatehouse.warehouse.runs.layout import SHARD_TABLES, TABLES, shard_name
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.writers.temporary import TEMPORARY

CAPTURE, SET_ASIDE, REMOVE, RECORD, BUILD = "capture", "set aside", "remove", "record", "build"
"""What mends a problem: capturing a shard again, moving a file out of the lake, removing a
leftover, recording again the shards that are there, rebuilding the marts."""

IMPORT_COUNTS = "land them with the `gatehouse import counts` that landed the run"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a run, in one sentence, and what mends it (None if nothing here can)."""

    run_id: str
    what: str
    cure: str | None
    shard: int | None = None
    path: Place | None = None


@dataclass(frozen=True)
class Health:
    """What a quick check of a run finds: its row, its shards' rows, the intact ones, what is wrong.

    `record` is None if the run's own records are missing or damaged, or about to land.
    """

    record: dict[str, Any] | None
    recorded: dict[int, dict[str, Any]]
    intact: set[int]
    problems: list[Problem]

    @property
    def is_finished(self) -> bool:
        """Whether the last shard has ever landed."""
        return self.record is not None and self.record["finished_at"] is not None


def check_quickly(lake: Lake, run_id: str) -> Health:
    """Return what the names and sizes of a run's files show.

    A run that is being captured may lack shards, and files that its writer has not recorded yet
    are not problems.
    """

    def unknown(what: str, cure: str | None = None) -> Health:
        return Health(None, {}, set(), [Problem(run_id, what, cure)])

    if not lake.storage.is_there(lake.folder("runs", run_id)):
        if lake.locks.writer(run_id) is not None:
            # it lands its record next, or is being removed
            return Health(None, {}, set(), [])
        return unknown(f"leftovers of a run: `gatehouse runs rm {run_id}` removes them")
    try:
        record, recorded = lake.run_record(run_id), lake.shards.recorded(run_id)
    except BrokenLaw as error:
        recordable = error.path and error.path.parent == lake.folder("shards", run_id)
        return unknown(str(error), RECORD if recordable else None)
    if record is None:
        return unknown(
            "has no row in `runs`: run the same `gatehouse capture` again, or remove the run with "
            f"`gatehouse runs rm {run_id}`"
        )
    if record["finished_at"] and record["shards"] and not recorded:
        return unknown("its table of shards is missing", RECORD)
    intact = lake.shards.intact(run_id, recorded)
    problems = [*_missing(lake, run_id, record, recorded, intact)]
    if lake.locks.writer(run_id) is None:
        problems += _strangers(lake, run_id, record, recorded)
    return Health(record, recorded, intact, problems)


def _missing(
    lake: Lake, run_id: str, record: dict[str, Any], recorded: dict[int, Any], intact: set[int]
) -> Iterator[Problem]:
    """Yield what is not there, or not whole, of what the run's records say."""
    for shard in recorded:
        if shard not in intact:
            yield Problem(run_id, f"shard {shard} is missing or has another size", CAPTURE, shard)
    if record["finished_at"] is None:
        return
    for shard in sorted(set(range(record["shards"])) - recorded.keys()):
        yield Problem(run_id, f"shard {shard} has no row in `shards`", RECORD, shard)
    if record["source"] == COUNTED and not lake.storage.is_there(lake.file("counts", run_id)):
        yield Problem(run_id, f"its counts are missing: {IMPORT_COUNTS}", None)


def strangers(lake: Lake) -> list[Problem]:
    """Return what lies between the folders of the lake's runs and belongs to none."""
    return [
        Problem(
            printable(f"{path.parent.name}/{path.name}"),
            "is not the folder of a run",
            SET_ASIDE,
            path=path,
        )
        for path in lake.strangers()
    ]


def check_all_quickly(lake: Lake) -> dict[str, Health]:
    """Return run id -> what `check_quickly` finds, for every run; several are read at a time."""
    with lake.storage.listed_once(lake.root) as listed, ThreadPoolExecutor() as threads:
        run_ids = lake.run_ids()
        found = dict(zip(run_ids, threads.map(partial(check_quickly, lake), run_ids), strict=True))
    # what landed after the listing would be missing
    again = [run_id for run_id, health in found.items() if listed and health.problems]
    return found | {run_id: check_quickly(lake, run_id) for run_id in again}


def _strangers(
    lake: Lake, run_id: str, record: dict[str, Any], recorded: dict[int, Any]
) -> Iterator[Problem]:
    """Yield files in the run's folders that do not belong to it."""
    # a shard's files may be there before its record, and after it was lost
    of_shards = set(map(shard_name, range(record["shards"])))
    for table in TABLES:
        folder = lake.folder(table, run_id)
        own = of_shards if table in SHARD_TABLES else {f"{table}.parquet"}
        if table == "shards":
            own = own | of_shards
        if table == "counts" and record["source"] != COUNTED:
            own = set()
        names = lake.storage.names(folder)
        if table == replays.TABLE:
            own = set(filter(replays.PART.fullmatch, names))
        for name in sorted(names - own):
            path, place = folder / name, f"{table}/{folder.name}/{name}"
            if path.match(TEMPORARY):
                yield Problem(run_id, f"{place} was never finished", REMOVE, path=path)
            else:
                sizes = {row.get(f"{table}_bytes") for row in recorded.values()}
                copy = lake.storage.size(path) in sizes
                kind = "may be a copy of a shard" if copy else "does not belong to this run"
                yield Problem(run_id, f"{place} {kind}", SET_ASIDE, path=path)
