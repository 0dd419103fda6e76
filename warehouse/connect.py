"""A read-only DuckDB session over the marts and the lake.

    from warehouse.connect import connect
    connect().sql("select * from fct_layer_routing")
"""

from pathlib import Path

import duckdb

from warehouse.paths import Paths
from warehouse.records import GatehouseError


def connect(paths: Paths | None = None) -> duckdb.DuckDBPyConnection:
    """Open the warehouse read-only; the lake's events are there as `stg_events`.

    Raises:
        GatehouseError: there is no warehouse yet, or another process is writing it.
    """
    database: Path = (paths or Paths.resolve()).database
    if not database.exists():
        raise GatehouseError(f"there is no {database} yet: run `gatehouse run` or `gatehouse build`")
    try:
        return duckdb.connect(str(database), read_only=True)
    except duckdb.Error as error:
        raise GatehouseError(
            f"cannot open {database}: {str(error).splitlines()[0]}; wait for the build to end, "
            "or delete the file and run `gatehouse build`"
        ) from error
