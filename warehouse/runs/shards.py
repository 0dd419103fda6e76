"""What has landed: a record file for each shard, so that many processes land shards of one run.

    lake/shards/run_id=RUN/shard-00000.parquet      one row of SHARDS
    lake/shards/run_id=RUN/shards.parquet           all rows, as lakes before version 6 have them

Where both tell of one shard, its record file holds: it is the later one. The macro `lake` of the
dbt project says the same.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.records import SHARDS
from gatehouse.warehouse.remembered.rows import Rows
from gatehouse.warehouse.runs.layout import SHARD_TABLES, Layout, shard_name
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.tables import Content, write_table

EARLIER = "shards.parquet"
RECORD = re.compile(r"shard-\d{5,}\.parquet")


class Shards:
    """The shards of a lake's runs: their records, and whether their files are as recorded.

    Args:
        layout: of the lake.
        rows: what is known of the rows of its small tables.
    """

    def __init__(self, layout: Layout, rows: Rows) -> None:
        self._layout = layout
        self._rows = rows

    def record_files(self, run_id: str) -> list[Place]:
        """Return the files of the run's records, those that hold last."""
        folder = self._layout.folder("shards", run_id)
        names = self._layout.storage.names(folder)
        earlier = [EARLIER] if EARLIER in names else []
        return [folder / name for name in (*earlier, *sorted(filter(RECORD.fullmatch, names)))]

    def recorded(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Return shard -> its row of SHARDS, in the order of the shards.

        Raises:
            BrokenLaw: a record is damaged, or that of another run or shard.
        """
        every = self._rows.of_each(self.record_files(run_id), SHARDS)
        found = {row["shard"]: row for rows_of_file in every for row in rows_of_file}
        return dict(sorted(found.items()))

    def finished(self, run_id: str) -> set[int]:
        """Return the recorded shards whose files are there and have the recorded size."""
        return self.intact(run_id, self.recorded(run_id))

    def intact(self, run_id: str, recorded: dict[int, dict[str, Any]]) -> set[int]:
        """Return the shards of `recorded`, as that returns it, whose files have that size."""
        found = set(recorded)
        for table in SHARD_TABLES if found else ():
            folder = self._layout.folder(table, run_id)
            sizes = self._layout.storage.sizes(folder, map(shard_name, found))
            size = f"{table}_bytes"
            found = {each for each in found if sizes[shard_name(each)] == recorded[each][size]}
        return found

    def landed(self, run_id: str, shard: int) -> dict[str, Any] | None:
        """Return the shard's row of SHARDS if it is one of `finished`; no other record is read.

        Raises:
            BrokenLaw: its record is damaged.
        """
        folder = self._layout.folder("shards", run_id)
        for path in (folder / shard_name(shard), folder / EARLIER):
            for row in self._rows.found(path, SHARDS) or ():
                if row["shard"] == shard:
                    return row if self.intact(run_id, {shard: row}) else None
        return None

    def has_landed(self, run_id: str, shard: int) -> bool:
        """Return whether the shard is one of `finished`; raises as `landed`."""
        return self.landed(run_id, shard) is not None

    def tokens(self, run_id: str) -> tuple[int, int]:
        """Return (tokens landed, tokens dropped by the maximum length) so far."""
        recorded = self.recorded(run_id)
        rows = [recorded[shard] for shard in self.intact(run_id, recorded)]
        return sum(row["tokens"] for row in rows), sum(row["dropped_tokens"] for row in rows)

    def record(
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
        files = {table: self._layout.shard_file(table, run_id, shard) for table in SHARD_TABLES}
        on_disk = written or {table: Content.of(path) for table, path in files.items()}
        self.add(run_id, row | columns_of(on_disk))

    def add(self, run_id: str, row: dict[str, Any]) -> None:
        """Record a shard by its row of SHARDS, as landed now, in place of what was recorded of it.

        Its files are there.
        """
        self._layout.state_version()
        path = self._layout.shard_file("shards", run_id, row["shard"])
        landed = row | {"landed_at": datetime.now(UTC)}
        write_table(path, pa.Table.from_pylist([landed], schema=SHARDS))

    def forget_damaged(self, run_id: str) -> None:
        """Remove the records of shards that cannot be read; the caller holds the run's lock."""
        for path in self.record_files(run_id):
            try:
                self._rows.of(path, SHARDS)
            except BrokenLaw:
                self._layout.storage.remove(path)


def columns_of(written: dict[str, Content]) -> dict[str, Any]:
    """Return the columns of SHARDS that tell of a shard's files: what was written, by table."""
    found: dict[str, Any] = {}
    for table, content in written.items():
        found |= {f"{table}_bytes": content.size, f"{table}_sha256": content.sha256}
    return found


def captured_since(
    rows: Collection[dict[str, Any]], started_at: datetime
) -> tuple[list[dict[str, Any]], float]:
    """Return the shards that a run captured itself, and in how many seconds, by all its processes.

    Two that were captured at once count the seconds once. A shard was captured in its `seconds`
    before it `landed_at`; one that began before the run did was taken over from another. Where all
    were, they are returned, with the seconds that each took by itself.

    Args:
        rows: of SHARDS.
        started_at: when the run began.
    """
    spans = {row["shard"]: row["landed_at"] - timedelta(seconds=row["seconds"]) for row in rows}
    own = [row for row in rows if spans[row["shard"]] >= started_at]
    if not own:
        return list(rows), sum((row["seconds"] for row in rows), start=0.0)
    elapsed, reached = timedelta(), started_at
    for row in sorted(own, key=lambda row: spans[row["shard"]]):
        elapsed += max(row["landed_at"] - max(spans[row["shard"]], reached), timedelta())
        reached = max(reached, row["landed_at"])
    return own, elapsed.total_seconds()
