"""`gatehouse.connect`: the warehouse in a user's own Python, beside the user's own tables."""

import duckdb

from gatehouse.warehouse.connect import connect as connect_to
from gatehouse.warehouse.paths import Paths


def connect(
    paths: Paths | None = None, *, external_access: bool = True
) -> duckdb.DuckDBPyConnection:
    """Open the warehouse read-only: marts by name, the lake's `events` and `vocabulary`.

    SQL on this connection finds the caller's DataFrames and Arrow tables by the names of their
    variables, and reads and writes files as the caller's Python can.

    Args:
        paths: the warehouse; default: the home that GATEHOUSE_HOME names, else the default one.
        external_access: False confines SQL to the warehouse, as `gatehouse sql` does; a table of
            one's own is then given to it with `connection.register(name, frame)`.

    Raises:
        GatehouseError: there is no warehouse yet, or it cannot be opened.
    """
    connection = connect_to(paths, external_access=external_access)
    if external_access:
        # a misspelt function must not send DuckDB to the network for an extension
        connection.execute("set autoinstall_known_extensions = false")
    return connection
