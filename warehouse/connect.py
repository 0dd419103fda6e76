"""A read-only DuckDB session over the marts and the lake.

from warehouse.connect import connect
connect().sql("select * from fct_layer_routing")
"""

import duckdb

from warehouse.errors import GatehouseError
from warehouse.paths import Paths


def connect(paths: Paths | None = None) -> duckdb.DuckDBPyConnection:
    """Open the warehouse read-only: marts by name, the lake's events as `stg_events`.

    Files outside the lake, other databases and extensions are out of reach.

    Raises:
        GatehouseError: there is no warehouse yet, or it cannot be opened.
    """
    paths = paths or Paths.resolve()
    if not paths.database.exists():
        raise GatehouseError(
            f"there is no {paths.database} yet: run `gatehouse run`, or `gatehouse build` if a "
            "capture has finished"
        )
    try:
        connection = duckdb.connect(str(paths.database), read_only=True)
        connection.execute("set allowed_directories = [$lake]", {"lake": f"{paths.lake}/"})
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
    except duckdb.Error as error:
        raise GatehouseError(
            f"cannot open {paths.database}: {str(error).splitlines()[0]}; delete the file and run "
            "`gatehouse build`, the lake has everything"
        ) from error
    return connection


def query(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation:
    """Return the result of one reading statement; nothing can be written by it.

    Raises:
        GatehouseError: the text is not one valid `select`, `from`, `with`, `describe` or `show`.
    """
    try:
        statements = connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise GatehouseError("the warehouse is read-only: give one `select` statement")
        relation = connection.sql(text)
        assert relation is not None
    except duckdb.Error as error:
        raise GatehouseError(
            f'{str(error).splitlines()[0]} (`gatehouse sql "show tables"` lists the tables)'
        ) from error
    return relation
