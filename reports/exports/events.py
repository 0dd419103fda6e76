"""A run's events as one table, for pandas, polars and R."""

from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from gatehouse.reports.marts.session import relation_of
from gatehouse.warehouse.errors import GatehouseError

EVENTS = """
    select * exclude (run_id)
    from events
    where run_id = $1
    order by sample_id, position, layer
"""
ROWS = 1_000_000


def write_events(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write all events of a run as one Parquet file, by sample, position and layer.

    Columns are those of `events` without the run; a batch of rows is in memory at a time.

    Raises:
        GatehouseError: the run has no events, only counts of experts.
    """
    batches = relation_of(connection, EVENTS, [run_id]).to_arrow_reader(ROWS)
    written = 0
    with pq.ParquetWriter(target, batches.schema, compression="zstd") as file:
        for batch in batches:
            file.write_batch(batch)
            written += batch.num_rows
    if not written:
        raise GatehouseError(f"{run_id} has no events, only counts of experts: use --to counts")
