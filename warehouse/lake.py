"""The lake: Parquet files that appear whole or not at all; a recorded shard is the checkpoint.

A shard's events land, then its samples, then its record, so what a record names is complete.
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.counts import checked_counts
from gatehouse.warehouse.errors import BrokenLaw, GatehouseError
from gatehouse.warehouse.events import Events, write_events
from gatehouse.warehouse.integrity import checked_events
from gatehouse.warehouse.records import COUNTS, LAYERS, RUNS, SAMPLES, VOCABULARY
from gatehouse.warehouse.remembered.rows import Rows
from gatehouse.warehouse.runs.layout import SHARD_TABLES, Layout
from gatehouse.warehouse.runs.run_locks import RunLocks
from gatehouse.warehouse.runs.shards import Shards, captured_since
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.tables import read_table, write_table


class Lake(Layout):
    """The lake at `root`; creating the object changes nothing there.

    Args:
        root: a folder, or a place in a bucket.
        rows: what is known of the rows of its small tables.

    Raises:
        GatehouseError: a lake of another version is there, or its bucket cannot be asked.
    """

    def __init__(self, root: Place, rows: Rows | None = None) -> None:
        super().__init__(root)
        self._rows = rows or Rows()
        self.locks = RunLocks(self)
        self.shards = Shards(self, self._rows)

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return run id -> row of `runs`, the latest start last; damaged rows are left out."""
        found = {}
        for run_id in self.run_ids_in("runs"):
            with suppress(BrokenLaw):
                if record := self.run_record(run_id):
                    found[run_id] = record
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
        with self.locks.in_turn(run_id):
            if self.is_described(run_id):
                return
            # before anything is written: a name may not be text in UTF-8
            _row(record).validate()
            self.state_version()
            write_table(self.file("layers", run_id), layers.cast(LAYERS))
            write_table(self.file("vocabulary", run_id), vocabulary.cast(VOCABULARY))
            self.update_run(run_id, record)

    def update_run(self, run_id: str, record: dict[str, Any]) -> None:
        """Replace the run's row of `runs`."""
        write_table(self.file("runs", run_id), _row(record))

    def finish_run(self, run_id: str) -> dict[str, Any]:
        """Close a run, all of which has landed, and return its row; a finished one stays as it is.

        The caller holds the run's lock, alone or with others: one of them closes the run.
        """
        with self.locks.in_turn(run_id):
            record = self.run_record(run_id)
            assert record is not None
            if record["finished_at"] is None:
                # a clock that was set back must not let a run end before it began
                record["finished_at"] = max(datetime.now(UTC), record["started_at"])
                rows = self.shards.recorded(run_id).values()
                _, seconds = captured_since(rows, record["started_at"])
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
        with self.locks.in_turn(run_id, shard):
            if not again and self.shards.has_landed(run_id, shard):
                return
            self.state_version()
            written = {
                "events": write_events(files["events"], lawful, events.schema),
                "samples": write_table(files["samples"], samples.cast(SAMPLES)),
            }
            self.shards.record(run_id, shard, samples, events.num_rows, written, seconds=seconds)


def _row(record: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([record], schema=RUNS)
