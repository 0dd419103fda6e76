"""Whether the lake holds what its own records say: every byte is read, unless it is known."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.integrity import checked_events
from gatehouse.warehouse.lake import Lake
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
from gatehouse.warehouse.replays import check_part, parts, read_part
from gatehouse.warehouse.runs.layout import SHARD_TABLES
from gatehouse.warehouse.tables import read_table, sha256_of, table_of
from gatehouse.warehouse.upkeep.health import (
    CAPTURE,
    IMPORT_COUNTS,
    SET_ASIDE,
    Health,
    Problem,
    check_quickly,
)

RUN_TABLES = {"runs": RUNS, "layers": LAYERS, "vocabulary": VOCABULARY, "shards": SHARDS}
OTHER_BYTES = "has other bytes in `{}` than were recorded"
DESCRIPTION, DATASET, OF_EXPERTS = "description", "dataset", "counts"
"""What `verify` finds right of a run, beside its shards."""


def verify(
    lake: Lake,
    run_id: str,
    moved: Callable[[], None] = lambda: None,
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
        moved: called for each shard, before it is read.
        verified: what was found right of the run before; takes what is now. None: nothing.
    """
    seen, verified = check_quickly(lake, run_id), verified or Subject({})
    record, found = seen.record, list(seen.problems)
    if record is None:
        return found
    verified.reads(lake.file("runs", run_id))
    verified.reads(*lake.shards.record_files(run_id))
    try:
        _check_description(lake, run_id, verified)
    except BrokenLaw as error:
        # capturing a shard again finds this out from the model
        return [*found, Problem(run_id, str(error), CAPTURE, 0)]
    if record["source"] == COUNTED and not found:
        found += _wrong_counts(lake, run_id, record, verified)
    found += _wrong_replays(lake, run_id, verified)
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


def _wrong_replays(lake: Lake, run_id: str, verified: Subject) -> Iterator[Problem]:
    """Yield the parts of a run's replays that are damaged, unless they are known to be right."""
    for path in parts(lake, run_id):
        if verified.still(path.name, files=[path]):
            continue
        try:
            check_part(read_part(path))
        except BrokenLaw as error:
            said = f"{path.parent.parent.name}/{path.parent.name}/{path.name} {error.law}"
            again = f"`gatehouse replay {run_id}` with the same policies measures it again"
            yield Problem(run_id, f"{said}: {again}", SET_ASIDE, path=path)
        else:
            verified.found_right(path.name)


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
    moved: Callable[[], None],
    verified: Subject,
) -> Iterator[Problem]:
    """Yield the shards that differ from what was recorded, except for those already known.

    `hashed` takes in all samples; where it is None, they are known to be those of the dataset.
    """
    assert seen.record is not None
    known = {problem.shard for problem in seen.problems}
    next_shard, next_sample = 0, seen.record["first_sample"]
    for shard, row in seen.recorded.items():
        moved()
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
    verified.reads(*(files[table] for table in (("samples",) if known else SHARD_TABLES)))
    try:
        content = lake.storage.read(files["samples"])
        if hashlib.sha256(content).hexdigest() != row["samples_sha256"]:
            return OTHER_BYTES.format("samples")
        samples = table_of(content, files["samples"], SAMPLES)
        events = row["events"] if known else _events_in(lake, run_id, row, samples)
        if events is None:
            return OTHER_BYTES.format("events")
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


def _events_in(lake: Lake, run_id: str, row: dict[str, Any], samples: pa.Table) -> int | None:
    """Return the number of a shard's events, None if they have other bytes than were recorded.

    Raises:
        BrokenLaw: as `_lawful`.
    """
    file = lake.shard_file("events", run_id, row["shard"])
    with lake.storage.on_disk(file) as here:
        if sha256_of(here) != row["events_sha256"]:
            return None
        try:
            return _lawful(lake, run_id, Events.in_file(here), samples)
        except BrokenLaw as error:
            # of a file in a bucket, what was read is a copy
            raise BrokenLaw(error.law, error.path and file) from error


def unrecorded_shards(lake: Lake, run_id: str) -> Iterator[tuple[int, pa.Table, int]]:
    """Yield (shard, its samples, number of its events) of unrecorded shards that keep the laws.

    For a run whose records of shards are lost: only shards that are readable and lawful get a row,
    none if the run's layers are damaged too.
    """
    record, recorded = lake.run_record(run_id), lake.shards.recorded(run_id)
    assert record is not None
    for shard in sorted(set(range(record["shards"])) - recorded.keys()):
        with suppress(BrokenLaw):
            samples = read_table(lake.shard_file("samples", run_id, shard), SAMPLES)
            events = lake.shard_file("events", run_id, shard)
            yield shard, samples, _lawful(lake, run_id, Events.in_file(events), samples)


def _lawful(lake: Lake, run_id: str, events: Events, samples: pa.Table) -> int:
    """Return the number of a shard's events.

    Raises:
        BrokenLaw: they cannot be read, or break a law of landing.
    """
    has_norms = lake.has_output_norms(run_id)
    lawful = checked_events(events, samples, lake.layers(run_id), has_norms=has_norms)
    return sum(part.num_rows for part in lawful)
