"""How the reports read the marts: one frame per query, values bound and never part of the text."""

from datetime import UTC, datetime
from typing import Any

import duckdb
import pandas as pd

from gatehouse.warehouse.errors import GatehouseError


def frame_of(connection: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> pd.DataFrame:
    """Return the rows of a query with its values for $1, $2, … as a frame.

    Raises:
        GatehouseError: the marts are not those of this version.
    """
    return relation_of(connection, query, values).to_arrow_table().to_pandas()


def relation_of(
    connection: duckdb.DuckDBPyConnection, query: str, values: list[Any]
) -> duckdb.DuckDBPyRelation:
    """Return the relation of a query with its values for $1, $2, …

    Raises:
        GatehouseError: the marts are not those of this version.
    """
    try:
        return connection.sql(query, params=values)
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        reason = str(error).splitlines()[0]
        raise GatehouseError(
            f"the marts do not fit this version of Gatehouse ({reason}): run `gatehouse build`"
        ) from error


def in_utc(value: Any) -> Any:
    """Return a time in UTC, anything else as it is."""
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value
