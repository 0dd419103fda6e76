"""Whether two databases hold the same: every table, exactly but for the last digits of floats."""

from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

RELATIVE, NOTHING = 1e-9, 1e-15


def differences(found: Path, expected: Path) -> dict[str, str]:
    """Return table -> how it differs; nothing for equal databases.

    Rows may have another order. Floats agree to a relative 1e-9, and up to 1e-15 counts as 0;
    everything else, types included, is equal.
    """
    tables, others = tables_of(found), tables_of(expected)
    missing = {name: "is in one of them only" for name in tables.keys() ^ others.keys()}
    compared = {
        name: difference(tables[name], others[name]) for name in tables.keys() & others.keys()
    }
    return missing | {name: said for name, said in compared.items() if said}


def difference(found: pd.DataFrame, expected: pd.DataFrame) -> str:
    """Return how two frames differ, as `differences` understands it; nothing if they do not."""
    if not found.dtypes.equals(expected.dtypes):
        return f"has the columns {dict(found.dtypes)} and {dict(expected.dtypes)}"
    if len(found) != len(expected):
        return f"has {len(found)} rows and {len(expected)}"
    try:
        pd.testing.assert_frame_equal(
            in_order(found), in_order(expected), rtol=RELATIVE, atol=NOTHING, check_exact=False
        )
    except AssertionError as error:
        return " ".join(str(error).split())
    return ""


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table's rows in an order that does not depend on the last digits of floats."""
    keys = frame.select_dtypes(exclude="floating").map(str)
    rounded = frame.select_dtypes("floating").map(lambda value: f"{value:.6g}")
    order = pd.concat([keys, rounded], axis=1)[list(frame.columns)]
    exact = [*keys.columns, *rounded.columns]
    return frame.loc[order.sort_values(exact, kind="stable").index].reset_index(drop=True)


def tables_of(database: Path) -> dict[str, pd.DataFrame]:
    """Return every table of a database; lists as tuples."""
    with closing(duckdb.connect(str(database), read_only=True)) as connection:
        names = connection.execute("select table_name from duckdb_tables()").fetchall()
        frames = {name: connection.table(name).to_arrow_table().to_pandas() for (name,) in names}
    for frame in frames.values():
        for name in frame.select_dtypes(object):
            frame[name] = frame[name].map(plain)
    return frames


def plain(value: object) -> object:
    """Return a value that compares as a whole."""
    return tuple(map(plain, value)) if isinstance(value, np.ndarray) else value
