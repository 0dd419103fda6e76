"""What has landed: a record file for each shard, so that many processes land shards of one run.

    lake/shards/run_id=RUN/shard-00000.parquet      one row of SHARDS
    lake/shards/run_id=RUN/shards.parquet           all rows, as lakes before version 6 have them

Where both tell of one shard, its record file holds: it is the later one. The macro `lake` of the
dbt project says the same.
"""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.records import SHARDS
from gatehouse.warehouse.remembered.rows import Rows
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of
from gatehouse.warehouse.tables import Content, write_table

EARLIER = "shards.parquet"
RECORD = re.compile(r"shard-\d{5,}\.parquet")


def record_files(folder: Place) -> list[Place]:
    """Return the files of records in a run's folder of `shards`, those that hold last."""
    names = storage_of(folder).names(folder)
    earlier = [EARLIER] if EARLIER in names else []
    return [folder / name for name in (*earlier, *sorted(filter(RECORD.fullmatch, names)))]


def recorded(folder: Place, rows: Rows) -> dict[int, dict[str, Any]]:
    """Return shard -> its row of SHARDS, in the order of the shards.

    Raises:
        BrokenLaw: a file is damaged, or that of another run or shard.
    """
    every = rows.of_each(record_files(folder), SHARDS)
    found = {row["shard"]: row for rows_of_file in every for row in rows_of_file}
    return dict(sorted(found.items()))


def recorded_of(folder: Place, rows: Rows, shard: int) -> dict[str, Any] | None:
    """Return what `recorded` has of one shard, and read no other record file.

    Raises:
        BrokenLaw: as `recorded`.
    """
    for path in (folder / shard_name(shard), folder / EARLIER):
        for row in rows.found(path, SHARDS) or ():
            if row["shard"] == shard:
                return row
    return None


def record(folder: Place, row: dict[str, Any]) -> None:
    """Record a shard by its row of SHARDS, in place of what was recorded of it."""
    path = folder / shard_name(row["shard"])
    write_table(path, pa.Table.from_pylist([row], schema=SHARDS))


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


def forget_damaged(folder: Place, rows: Rows) -> None:
    """Remove the files of records that cannot be read; nobody else writes the run."""
    for path in record_files(folder):
        try:
            rows.of(path, SHARDS)
        except BrokenLaw:
            storage_of(path).remove(path)


def shard_name(shard: int) -> str:
    """Return the name of a shard's file in each of its run's folders."""
    return f"shard-{shard:05d}.parquet"
