"""The lake: Parquet files that appear whole or not at all; a recorded shard is the checkpoint.

    lake/events/run_id=RUN/shard-00000.parquet      ordered by layer, sample, position
    lake/samples/run_id=RUN/shard-00000.parquet     the samples of that shard
    lake/shards/run_id=RUN/shard-00000.parquet      its record: shard_records.py
    lake/{runs,layers,vocabulary}/run_id=RUN/{table}.parquet
    lake/counts/run_id=RUN/counts.parquet           of a run that has only these, and no shards
    lake/replays/run_id=RUN/part-0123456789ab.parquet   what other routing would cost: replays.py
    lake/names/RUN.txt                              a person's name for the run, if it has one
    lake/readings/RUN.json                          how the run's text was read
    lake/replaying/RUN.json                         the replay of it that is under way
    lake/locks/RUN.lock, RUN.*.sharer               the process, or those, that capture the run

A shard's events land, then its samples, then its record, so what a record names is complete.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.warehouse import shard_records
from gatehouse.warehouse.counts import checked_counts
from gatehouse.warehouse.errors import ANOTHER_HOME, BrokenLaw, GatehouseError
from gatehouse.warehouse.events import Events, write_events
from gatehouse.warehouse.integrity import checked_events
from gatehouse.warehouse.paths import checked_run_id, is_run_id
from gatehouse.warehouse.records import (
    COUNTS,
    LAKE_VERSION,
    LAYERS,
    READABLE_VERSIONS,
    RUNS,
    SAMPLES,
    VOCABULARY,
)
from gatehouse.warehouse.remembered.rows import Rows
from gatehouse.warehouse.shard_records import columns_of, shard_name
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of
from gatehouse.warehouse.storage.storage import Entry
from gatehouse.warehouse.tables import Content, read_table, write_table
from gatehouse.warehouse.writers.temporary import is_dead

TABLES = ("runs", "layers", "vocabulary", "shards", "counts", "replays", "samples", "events")
"""The lake's folders of runs, in the order in which a run is removed from them."""

SHARD_TABLES = ("samples", "events")
"""Those of them that have a file for each shard."""

TURN = ".turn"
"""How the names of the locks end that processes take one after another."""


class Lake:
    """The lake at `root`; creating the object changes nothing there.

    Args:
        root: a folder, or a place in a bucket.
        rows: what is known of the rows of its small tables.

    Raises:
        GatehouseError: a lake of another version is there, or its bucket cannot be asked.
    """

    def __init__(self, root: Place, rows: Rows | None = None) -> None:
        self.root = root
        self.storage = storage_of(root)
        self._rows = rows or Rows()
        self._stated = self._stated_version()
        if self._stated is not None and self._stated not in READABLE_VERSIONS:
            raise GatehouseError(
                f"{root} is a lake of version {self._stated}, this Gatehouse reads versions "
                f"{READABLE_VERSIONS[0]} to {LAKE_VERSION}: {ANOTHER_HOME}"
            )

    def run_ids(self) -> list[str]:
        """Return the names of all runs, readable or not, and of those removed only in part."""
        found = {
            _run_id_of(each)
            for table in TABLES
            for each in self.storage.entries(self.root / table)
            if _is_of_a_run(each)
        }
        return sorted(found)

    def strangers(self) -> list[Place]:
        """Return what lies between the folders of runs and is none, as a copy made by hand."""
        return [
            self.root / table / each.name
            for table in sorted(TABLES)
            for each in sorted(self.storage.entries(self.root / table))
            if not (_is_of_a_run(each) or each.name.startswith("."))
        ]

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return run id -> row of `runs`, the latest start last; damaged rows are left out."""
        found = {}
        for folder in filter(_is_of_a_run, self.storage.entries(self.root / "runs")):
            with suppress(BrokenLaw):
                if record := self.run_record(_run_id_of(folder)):
                    found[_run_id_of(folder)] = record
        return dict(sorted(found.items(), key=lambda run: run[1]["started_at"]))

    def run_record(self, run_id: str) -> dict[str, Any] | None:
        """Return the run's row of `runs`, or None where there is no such run.

        Raises:
            BrokenLaw: the row is damaged.
        """
        rows = self._rows.found(self.file("runs", run_id), RUNS)
        return rows[0] if rows else None

    def has_output_norms(self, run_id: str) -> bool:
        """Return whether the run's events have the norms of the experts' outputs."""
        record = self.run_record(run_id)
        return bool(record and record["output_norms"])

    def is_readable(self, run_id: str) -> bool:
        """Return whether the run's row of `runs` can be read, or there is none."""
        try:
            self.run_record(run_id)
        except BrokenLaw:
            return False
        return True

    def land_run(
        self, run_id: str, record: dict[str, Any], layers: pa.Table, vocabulary: pa.Table
    ) -> None:
        """Land the description of a run, before its first shard, unless it is described.

        Of several processes that share the run, the first one describes it.
        """
        with self.in_turn(run_id):
            if self.is_described(run_id):
                return
            self._state_version()
            write_table(self.file("layers", run_id), layers.cast(LAYERS))
            write_table(self.file("vocabulary", run_id), vocabulary.cast(VOCABULARY))
            self.update_run(run_id, record)

    def _state_version(self) -> None:
        """Let no earlier Gatehouse read a lake that holds what it does not know."""
        if self._stated != LAKE_VERSION:
            version = f"{LAKE_VERSION}\n"
            self.storage.publish(self.root / "VERSION", lambda path: path.write_text(version))
            self._stated = LAKE_VERSION

    def update_run(self, run_id: str, record: dict[str, Any]) -> None:
        """Replace the run's row of `runs`."""
        write_table(self.file("runs", run_id), pa.Table.from_pylist([record], schema=RUNS))

    def finish_run(self, run_id: str) -> dict[str, Any]:
        """Close a run, all of which has landed, and return its row; a finished one stays as it is.

        The caller holds the run's lock, alone or with others: one of them closes the run.
        """
        with self.in_turn(run_id):
            record = self.run_record(run_id)
            assert record is not None
            if record["finished_at"] is None:
                # a clock that was set back must not let a run end before it began
                record["finished_at"] = max(datetime.now(UTC), record["started_at"])
                rows = self.shards(run_id).values()
                _, seconds = shard_records.captured_since(rows, record["started_at"])
                record["capture_seconds"] = seconds
                self.update_run(run_id, record)
            return record

    def layers(self, run_id: str) -> pa.Table:
        """Return the run's MoE layers, schema LAYERS."""
        return read_table(self.file("layers", run_id), LAYERS)

    def is_described(self, run_id: str) -> bool:
        """Return whether the run's record, layers and vocabulary are there and readable."""
        try:
            for table, schema in (("runs", RUNS), ("layers", LAYERS), ("vocabulary", VOCABULARY)):
                read_table(self.file(table, run_id), schema)
        except GatehouseError:
            return False
        return True

    def land_counts(self, run_id: str, counts: pa.Table) -> None:
        """Check and publish the counts (schema COUNTS) of a run that has landed and has no shards.

        Raises:
            BrokenLaw: they are not one for each expert of each MoE layer; nothing is written.
        """
        table = checked_counts(counts.cast(COUNTS), self.layers(run_id))
        write_table(self.file("counts", run_id), table)

    def counts(self, run_id: str) -> pa.Table:
        """Return the counts of a run that has some, schema COUNTS.

        Raises:
            BrokenLaw: they are missing, damaged, or not one for each expert of each MoE layer.
        """
        path = self.file("counts", run_id)
        try:
            return checked_counts(read_table(path, COUNTS), self.layers(run_id))
        except BrokenLaw as error:
            raise BrokenLaw(error.law, error.path or path) from error

    def remove_leftovers(self, run_id: str) -> None:
        """Remove what a killed writer of the run was writing; the caller holds the run's lock."""
        self._remove_temporary(run_id, lambda path: True)

    def remove_dead_leftovers(self, run_id: str) -> None:
        """Remove what a writer of the run left that is known to have ended; others may write."""
        self._remove_temporary(run_id, is_dead)
        # to look who shares the lock removes the files of those that were killed
        self.writer(run_id)

    def _remove_temporary(self, run_id: str, condition: Callable[[Path], bool]) -> None:
        for table in TABLES:
            self.storage.remove_leftovers(self.folder(table, run_id), condition)

    def shards(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return shard -> its row of `shards`, in the order of the shards.

        Raises:
            BrokenLaw: the record of a shard is damaged.
        """
        return shard_records.recorded(self.folder("shards", run_id), self._rows)

    def record_files(self, run_id: str) -> list[Place]:
        """Return the files that `shards` reads."""
        return shard_records.record_files(self.folder("shards", run_id))

    def forget_damaged_shards(self, run_id: str) -> None:
        """Remove the records of shards that cannot be read; the caller holds the run's lock."""
        shard_records.forget_damaged(self.folder("shards", run_id), self._rows)

    def finished_shards(self, run_id: str) -> set[int]:
        """Return the recorded shards whose files are there and have the recorded size."""
        return self.intact(run_id, self.shards(run_id))

    def landed(self, run_id: str, shard: int) -> dict[str, Any] | None:
        """Return the shard's row of SHARDS if it is one of `finished_shards`.

        Raises:
            BrokenLaw: its record is damaged.
        """
        row = shard_records.recorded_of(self.folder("shards", run_id), self._rows, shard)
        return row if row and self.intact(run_id, {shard: row}) else None

    def has_landed(self, run_id: str, shard: int) -> bool:
        """Return whether the shard is one of `finished_shards`; raises as `landed`."""
        return self.landed(run_id, shard) is not None

    def intact(self, run_id: str, recorded: dict[int, dict[str, Any]]) -> set[int]:
        """Return the shards of `recorded`, as `shards` returns it, whose files have that size."""
        found = set(recorded)
        for table in SHARD_TABLES if found else ():
            sizes = self.storage.sizes(self.folder(table, run_id), map(shard_name, found))
            size = f"{table}_bytes"
            found = {each for each in found if sizes[shard_name(each)] == recorded[each][size]}
        return found

    def land_shard(
        self,
        run_id: str,
        shard: int,
        samples: pa.Table,
        events: Events,
        *,
        seconds: float = 0.0,
        again: bool = True,
    ) -> None:
        """Check one shard's samples (schema SAMPLES) and events, publish and record them.

        Args:
            run_id: a run that has landed.
            shard: its number, from 0.
            samples: those of the shard, in order.
            events: theirs; the memory holds one part of them at a time.
            seconds: how long the capture of the shard took.
            again: replace a shard that has landed; who shares the run lands none again.

        Raises:
            BrokenLaw: the events are not exactly the samples' tokens times the MoE layers, or a
                value is out of range; then nothing is written.
        """
        has_norms = self.has_output_norms(run_id)
        lawful = checked_events(events, samples, self.layers(run_id), has_norms=has_norms)
        files = {table: self.shard_file(table, run_id, shard) for table in SHARD_TABLES}
        with self.in_turn(run_id, shard):
            if not again and self.has_landed(run_id, shard):
                return
            self._state_version()
            written = {
                "events": write_events(files["events"], lawful, events.schema),
                "samples": write_table(files["samples"], samples.cast(SAMPLES)),
            }
            self.record_shard(run_id, shard, samples, events.num_rows, written, seconds=seconds)

    def record_shard(
        self,
        run_id: str,
        shard: int,
        samples: pa.Table,
        events: int,
        written: dict[str, Content] | None = None,
        *,
        seconds: float = 0.0,
    ) -> None:
        """Record the files of a shard, by table as they were written, or as they are on disk."""
        row = {
            "shard": shard,
            "first_sample": pc.min(samples["sample_id"]).as_py(),
            "samples": samples.num_rows,
            "tokens": pc.sum(samples["tokens"]).as_py() or 0,
            "dropped_tokens": pc.sum(samples["dropped_tokens"]).as_py() or 0,
            "events": events,
            "seconds": seconds,
        }
        self.add_shard(run_id, row | columns_of(written or self._on_disk(run_id, shard)))

    def add_shard(self, run_id: str, row: dict[str, Any]) -> None:
        """Record a shard by its row of SHARDS, as landed now; its files are there."""
        self._state_version()
        shard_records.record(self.folder("shards", run_id), row | {"landed_at": datetime.now(UTC)})

    def _on_disk(self, run_id: str, shard: int) -> dict[str, Content]:
        return {table: Content.of(self.shard_file(table, run_id, shard)) for table in SHARD_TABLES}

    def tokens(self, run_id: str) -> tuple[int, int]:
        """Return (tokens landed, tokens dropped by the maximum length) so far."""
        recorded = self.shards(run_id)
        rows = [recorded[shard] for shard in self.intact(run_id, recorded)]
        return sum(row["tokens"] for row in rows), sum(row["dropped_tokens"] for row in rows)

    @contextmanager
    def writing(self, run_id: str) -> Iterator[None]:
        """Hold the run's lock: only one process at a time captures, repairs or removes a run.

        Raises:
            GatehouseError: another process holds it; the message names that process.
        """
        locks = self.root / "locks"
        with self.storage.exclusive(self._lock(run_id), partial(_being_written, run_id)):
            # nobody else holds the run's lock: their processes were killed
            for name in self.storage.names(locks):
                if name.startswith(f"{run_id}.") and name.endswith(TURN):
                    self.storage.remove(locks / name)
            yield

    def sharing(self, run_id: str) -> AbstractContextManager[None]:
        """Hold the run's lock together with other processes that land parts of it.

        Raises:
            GatehouseError: a process holds it alone; the message names that process.
        """
        return self.storage.shared(self._lock(run_id), partial(_being_written, run_id))

    @contextmanager
    def held(self, run_id: str, *, together: bool) -> Iterator[None]:
        """Hold the run's lock, without what those left that were killed while they wrote.

        Args:
            run_id: whose lock.
            together: with other processes, as `sharing`; else alone, as `writing`.

        Raises:
            GatehouseError: as these.
        """
        if not together:
            with self.writing(run_id):
                self.remove_leftovers(run_id)
                yield
            return
        with self.sharing(run_id):
            self.remove_dead_leftovers(run_id)
            try:
                yield
            finally:
                # of workers that were ended in the middle of their work
                self.remove_dead_leftovers(run_id)

    def in_turn(self, run_id: str, shard: int | None = None) -> AbstractContextManager[None]:
        """Be the only process in such a block, after others: of a run, or of one of its shards."""
        of_shard = "" if shard is None else f".{shard:05d}"
        path = self.root / "locks" / f"{checked_run_id(run_id)}{of_shard}{TURN}"
        return self.storage.in_turn(path, self._lock(run_id))

    def writer(self, run_id: str) -> str | None:
        """Return the process or processes that are writing the run now, or None."""
        return self.storage.holder(self._lock(run_id))

    def has_been_locked(self, run_id: str) -> bool:
        """Return whether a process is writing the run, or was killed while it did."""
        return self.storage.has_been_locked(self._lock(run_id))

    def remove_abandoned_locks(self) -> None:
        """Remove the files of the locks that nobody holds: their processes were killed."""
        for run_id in {name.split(".")[0] for name in self.storage.names(self.root / "locks")}:
            if is_run_id(run_id) and self.writer(run_id) is None:
                with suppress(GatehouseError), self.writing(run_id):
                    pass

    def folder(self, table: str, run_id: str) -> Place:
        """Return the folder of a run in one of TABLES."""
        return self.root.joinpath(table, f"run_id={checked_run_id(run_id)}")

    def file(self, table: str, run_id: str) -> Place:
        """Return the file of a run in a table that has one file a run."""
        return self.folder(table, run_id) / f"{table}.parquet"

    def shard_file(self, table: str, run_id: str, shard: int) -> Place:
        """Return a shard's file in `samples`, `events` or `shards`."""
        return self.folder(table, run_id) / shard_name(shard)

    def _lock(self, run_id: str) -> Place:
        return self.root / "locks" / f"{checked_run_id(run_id)}.lock"

    def _stated_version(self) -> int | None:
        """Return the version of the lake; None if none is stated, or a crash left something else.

        Each of the lake's tables shows by its columns whether it is of this version.
        """
        try:
            return int(self.storage.read(self.root / "VERSION"))
        except (OSError, ValueError):
            return None


def _being_written(run_id: str, by: str) -> str:
    return (
        f"{run_id} is being written by {by}: wait for it to end, or end it, and run "
        "the same command"
    )


def _run_id_of(folder: Entry) -> str:
    return folder.name.removeprefix("run_id=")


def _is_of_a_run(entry: Entry) -> bool:
    return entry.is_folder and entry.name.startswith("run_id=") and is_run_id(_run_id_of(entry))
