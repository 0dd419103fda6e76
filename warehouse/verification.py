"""Whether the lake holds what its own records say, and whether the marts agree with it.

`check_quickly` and `check_all_quickly` look at names and sizes; `verify` reads every byte that is
not known to be right.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.files import TEMPORARY, read_table, sha256_of
from gatehouse.warehouse.integrity import checked_events
from gatehouse.warehouse.lake import NO_FOLDER, TABLES, Lake, shard_name
from gatehouse.warehouse.plain_text import printable
from gatehouse.warehouse.records import (
    COUNTED,
    LAYERS,
    RUNS,
    SAMPLES,
    SHARDS,
    VOCABULARY,
    RunSpec,
    files_fingerprint,
    sample_line,
)
from gatehouse.warehouse.remembered.verified import Subject

RUN_TABLES = {"runs": RUNS, "layers": LAYERS, "vocabulary": VOCABULARY, "shards": SHARDS}
SHARD_TABLES = ("samples", "events")
DESCRIPTION, DATASET, OF_EXPERTS = "description", "dataset", "counts"
"""What `verify` finds right of a run, beside its shards."""

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
    path: Path | None = None


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

    if not lake.folder("runs", run_id).exists():
        if lake.writer(run_id) is not None:
            # it lands its record next, or is being removed
            return Health(None, {}, set(), [])
        return unknown(f"leftovers of a run: `gatehouse runs rm {run_id}` removes them")
    try:
        record, recorded = lake.run_record(run_id), lake.shards(run_id)
    except BrokenLaw as error:
        recordable = error.path == lake.file("shards", run_id)
        return unknown(str(error), RECORD if recordable else None)
    if record is None:
        return unknown(
            "has no row in `runs`: run the same `gatehouse capture` again, or remove the run with "
            f"`gatehouse runs rm {run_id}`"
        )
    if record["finished_at"] and record["shards"] and not lake.file("shards", run_id).exists():
        return unknown("its table of shards is missing", RECORD)
    intact = lake.intact(run_id, recorded)
    problems = [
        Problem(run_id, f"shard {shard} is missing or has another size", CAPTURE, shard)
        for shard in recorded
        if shard not in intact
    ]
    if record["finished_at"]:
        problems += [
            Problem(run_id, f"shard {shard} has no row in `shards`", CAPTURE, shard)
            for shard in sorted(set(range(record["shards"])) - recorded.keys())
        ]
    is_counted = record["source"] == COUNTED
    if is_counted and record["finished_at"] and not lake.file("counts", run_id).exists():
        problems.append(Problem(run_id, f"its counts are missing: {IMPORT_COUNTS}", None))
    if lake.writer(run_id) is None:
        problems += _strangers(lake, run_id, record, recorded)
    return Health(record, recorded, intact, problems)


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
    run_ids = lake.run_ids()
    with ThreadPoolExecutor() as threads:
        return dict(zip(run_ids, threads.map(partial(check_quickly, lake), run_ids), strict=True))


def verify(
    lake: Lake,
    run_id: str,
    moved: Callable[[int], None] = lambda shards: None,
    verified: Subject | None = None,
) -> list[Problem]:
    """Return everything that is wrong with a run in the lake.

    Every byte is read, but for files that were found right and that nobody has written since.

    Every shard must be there with the SHA-256 that was recorded, its pages must match their
    checksums, and it must keep the laws of landing (tokens x layers, no duplicates, values in
    range). The shards must hold consecutive samples, and the run must be what its name says.

    Args:
        lake: read only.
        run_id: any run, finished or not.
        moved: called with the number of shards read so far.
        verified: what was found right of the run before; takes what is now. None: nothing.
    """
    seen, verified = check_quickly(lake, run_id), verified or Subject({})
    record, found = seen.record, list(seen.problems)
    if record is None:
        return found
    verified.reads(lake.file("runs", run_id))
    if record["shards"]:
        verified.reads(lake.file("shards", run_id))
    try:
        _check_description(lake, run_id, verified)
    except BrokenLaw as error:
        # capturing a shard again finds this out from the model
        return [*found, Problem(run_id, str(error), CAPTURE, 0)]
    if record["source"] == COUNTED and not found:
        found += _wrong_counts(lake, run_id, record, verified)
    samples = [lake.shard_file("samples", run_id, shard) for shard in seen.recorded]
    known = verified.still(DATASET, [record, list(seen.recorded.values())], samples)
    hashed = None if known else hashlib.sha256()
    found += _wrong_shards(lake, run_id, seen, hashed, moved, verified)
    if hashed:
        found += _wrong_whole(run_id, record, hashed.hexdigest()) if not found else ()
        if not found:
            verified.found_right(DATASET)
    return found


def _check_description(lake: Lake, run_id: str, verified: Subject) -> None:
    """Read what describes a run, unless it is known to be right.

    Raises:
        BrokenLaw: it is damaged, or that of another run.
    """
    files = {table: lake.file(table, run_id) for table in ("layers", "vocabulary")}
    if not verified.still(DESCRIPTION, files=files.values()):
        for table, path in files.items():
            read_table(path, RUN_TABLES[table])
        verified.found_right(DESCRIPTION)


def _wrong_counts(
    lake: Lake, run_id: str, record: dict[str, Any], verified: Subject
) -> Iterator[Problem]:
    """Yield what is wrong with a run's counts, unless they are known to be right or to come."""
    files = [lake.file(table, run_id) for table in ("counts", "layers")]
    if record["finished_at"] and not verified.still(OF_EXPERTS, files=files):
        try:
            lake.counts(run_id)
        except BrokenLaw as error:
            yield Problem(run_id, f"{error}: {IMPORT_COUNTS}", None)
        else:
            verified.found_right(OF_EXPERTS)


def _wrong_whole(run_id: str, record: dict[str, Any], of_samples: str) -> Iterator[Problem]:
    """Yield what is wrong with a run whose shards are right: `of_samples` is their hash."""
    anew = f"remove it with `gatehouse runs rm {run_id}` and run its capture again"
    if RunSpec.of_record(record).run_id != run_id:
        yield Problem(run_id, f"its row in `runs` is of another run: {anew}", None)
        return
    # an import's data set is its files
    files = record["source_files"]
    found = files_fingerprint(files) if files else of_samples
    if record["finished_at"] and found != record["dataset_fingerprint"]:
        yield Problem(run_id, f"its samples are not those of its dataset: {anew}", None)


def _wrong_shards(
    lake: Lake,
    run_id: str,
    seen: Health,
    hashed: "hashlib._Hash | None",
    moved: Callable[[int], None],
    verified: Subject,
) -> Iterator[Problem]:
    """Yield the shards that differ from what was recorded, except for those already known.

    `hashed` takes in all samples; where it is None, they are known to be those of the dataset.
    """
    assert seen.record is not None
    known = {problem.shard for problem in seen.problems}
    next_shard, next_sample = 0, seen.record["first_sample"]
    for index, (shard, row) in enumerate(seen.recorded.items()):
        moved(index)
        wrong = None
        if shard not in known:
            wrong = _wrong_in_shard(lake, run_id, row, hashed, verified)
        if wrong is None and shard == next_shard and row["first_sample"] != next_sample:
            wrong = f"begins at sample {row['first_sample']}, not {next_sample}"
        if wrong:
            yield Problem(run_id, f"shard {shard} {wrong}", CAPTURE, shard)
        start = next_sample if shard == next_shard else row["first_sample"]
        next_shard, next_sample = shard + 1, start + row["samples"]


def _wrong_in_shard(
    lake: Lake,
    run_id: str,
    row: dict[str, Any],
    hashed: "hashlib._Hash | None",
    verified: Subject,
) -> str | None:
    """Return what is wrong with a recorded shard, or None; `hashed` takes in its samples."""
    shard = row["shard"]
    files = {table: lake.shard_file(table, run_id, shard) for table in SHARD_TABLES}
    # its events are right of these layers
    known = verified.still(str(shard), row, [*files.values(), lake.file("layers", run_id)])
    if known and not hashed:
        return None
    for table in ("samples",) if known else SHARD_TABLES:
        verified.reads(files[table])
        if sha256_of(files[table]) != row[f"{table}_sha256"]:
            return f"has other bytes in `{table}` than were recorded"
    try:
        samples = read_table(files["samples"], SAMPLES)
        events = row["events"] if known else _lawful(lake, run_id, shard, samples)
    except BrokenLaw as error:
        return f"breaks a law: {error if error.path else error.law}"
    sample_ids = samples["sample_id"].to_pylist()
    first = row["first_sample"] or 0
    if sample_ids != list(range(first, first + row["samples"])):
        return "does not hold consecutive samples"
    counts = {"events": events, "tokens": sum(samples["tokens"].to_pylist())}
    if hashed:
        for sample in samples.select(["name", "domain", "document", "text_sha256"]).to_pylist():
            hashed.update(sample_line(**sample))
    if wrong := [name for name, count in counts.items() if count != row[name]]:
        return f"does not have the recorded number of {' and '.join(wrong)}"
    if not known:
        verified.found_right(str(shard))
    return None


def _strangers(
    lake: Lake, run_id: str, record: dict[str, Any], recorded: dict[int, Any]
) -> Iterator[Problem]:
    """Yield files in the run's folders that do not belong to it."""
    # an unfinished run may have a shard whose capture was killed before it was recorded
    numbers = recorded if record["finished_at"] else range(record["shards"])
    of_shards = set(map(shard_name, numbers))
    for table in TABLES:
        folder = lake.folder(table, run_id)
        own = of_shards if table in SHARD_TABLES else {f"{table}.parquet"}
        if table == "counts" and record["source"] != COUNTED:
            own = set()
        for name in sorted(_names_in(folder) - own):
            path, place = folder / name, f"{table}/{folder.name}/{name}"
            if path.match(TEMPORARY):
                yield Problem(run_id, f"{place} was never finished", REMOVE, path=path)
            else:
                sizes = {row.get(f"{table}_bytes") for row in recorded.values()}
                copy = path.is_file() and path.stat().st_size in sizes
                kind = "may be a copy of a shard" if copy else "does not belong to this run"
                yield Problem(run_id, f"{place} {kind}", SET_ASIDE, path=path)


def _names_in(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except NO_FOLDER:
        return set()


def lawful_shards(lake: Lake, run_id: str) -> Iterator[tuple[int, pa.Table, int]]:
    """Yield (shard, its samples, number of its events) of the shards that keep the laws.

    For a run whose table of shards is damaged: only shards that are readable and lawful get a row,
    none if the run's layers are damaged too.
    """
    record = lake.run_record(run_id)
    assert record is not None
    for shard in range(record["shards"]):
        with suppress(BrokenLaw):
            samples = read_table(lake.shard_file("samples", run_id, shard), SAMPLES)
            yield shard, samples, _lawful(lake, run_id, shard, samples)


def _lawful(lake: Lake, run_id: str, shard: int, samples: pa.Table) -> int:
    """Return the number of a shard's events.

    Raises:
        BrokenLaw: they cannot be read, or break a law of landing.
    """
    events = Events.in_file(lake.shard_file("events", run_id, shard))
    return sum(part.num_rows for part in checked_events(events, samples, lake.layers(run_id)))
