"""A run's events as one table, for pandas, polars and R."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
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

Opener = Callable[[str, pa.Schema], AbstractContextManager[Any]]
"""What opens a file for batches of a schema."""

PARQUET: Opener = partial(pq.ParquetWriter, compression="zstd")


def write_events(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write all events of a run as one Parquet file, by sample, position and layer.

    Columns are those of `events` without the run; a batch of rows is in memory at a time.

    Raises:
        GatehouseError: the run has no events, only counts of experts.
    """
    _write(PARQUET, connection, run_id, target)


def write_arrow_file(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write the same as an Arrow file, which is also called Feather.

    Raises:
        GatehouseError: as `write_events`.
    """
    _write(pa.ipc.new_file, connection, run_id, target)


def write_arrow_stream(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write the same as an Arrow stream.

    Raises:
        GatehouseError: as `write_events`.
    """
    _write(pa.ipc.new_stream, connection, run_id, target)


def write_rows(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    values: list[Any],
    target: Path,
    opened: Opener = PARQUET,
) -> int:
    """Write a query's rows, a batch at a time, as Parquet by default; return how many they are."""
    batches = relation_of(connection, query, values).to_arrow_reader(ROWS)
    written = 0
    with opened(str(target), batches.schema) as file:
        for batch in batches:
            file.write_batch(batch)
            written += batch.num_rows
    return written


def no_events(run_id: str) -> GatehouseError:
    """Return the error of a run that has no events."""
    return GatehouseError(f"{run_id} has no events, only counts of experts: use --to counts")


def _write(
    opened: Opener, connection: duckdb.DuckDBPyConnection, run_id: str, target: Path
) -> None:
    if not write_rows(connection, EVENTS, [run_id], target, opened):
        raise no_events(run_id)
