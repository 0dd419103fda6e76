"""`gatehouse.connect`: the warehouse in a user's own Python, beside the user's own tables."""

import math
import re
import sys
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any

import duckdb

from gatehouse.warehouse.connect import connect as connect_to
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted, printable

SHOWN_ROWS = 20
SHOWN_ITEMS = 8
SHOWN_CHARACTERS = 80
DIGITS = 4
"""Significant digits of a number in a notebook; the relation itself has all."""

IN_NATS = re.compile(r"(^|_)(entropy|nll|kl|information_gain)(_|$)")
"""Columns in nats, but for those that are normalised."""

NUMBERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL\(.*\)")
"""Types of columns that stand at the right."""

STYLE = "text-align: {align}; padding: .2em .6em; white-space: nowrap"


def connect(
    paths: Paths | None = None, *, external_access: bool = True
) -> duckdb.DuckDBPyConnection:
    """Open the warehouse read-only: marts by name, the lake's `events` and `vocabulary`.

    SQL on this connection finds the caller's DataFrames and Arrow tables by the names of their
    variables, and reads and writes files as the caller's Python can. In Jupyter a relation at the
    end of a cell is shown as `table_of` says.

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
    _show_tables()
    return connection


def _show_tables() -> None:
    """Let Jupyter show DuckDB's relations as tables; elsewhere there is nothing to do."""
    # whoever runs in Jupyter has imported it
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive else None
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type(duckdb.DuckDBPyRelation, table_of)


def table_of(relation: duckdb.DuckDBPyRelation) -> str:
    """Return the first SHOWN_ROWS rows of a relation as an HTML table, and how many there are.

    Numbers are rounded to DIGITS significant digits, columns in nats say so, and long lists and
    texts are cut.
    """
    rows = relation.limit(SHOWN_ROWS + 1).fetchall()
    is_cut = len(rows) > SHOWN_ROWS
    total = relation.count("*").fetchall()[0][0] if is_cut else len(rows)
    styles = [STYLE.format(align=_align(kind)) for kind in relation.types]
    head = "".join(map(_heading, relation.columns, styles))
    body = "".join(
        f"<tr>{''.join(map(_cell, row, relation.columns, styles))}</tr>"
        for row in rows[:SHOWN_ROWS]
    )
    size = f"{SHOWN_ROWS} of {counted(total, 'row')}" if is_cut else counted(total, "row")
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{size}</small></p>"
    )


def _heading(name: str, style: str) -> str:
    unit = " <small>nats</small>" if is_in_nats(name) else ""
    return f'<th style="{style}">{escape(printable(name))}{unit}</th>'


def is_in_nats(column: str) -> bool:
    """Return whether a column of the warehouse is in nats, by its name."""
    return bool(IN_NATS.search(column)) and "normalised" not in column


def _align(kind: object) -> str:
    return "right" if NUMBERS.fullmatch(str(kind)) else "left"


def _cell(value: object, column: str, style: str) -> str:
    # an id is a name: it has no thousands
    is_name = isinstance(value, int) and (column == "id" or column.endswith("_id"))
    return f'<td style="{style}">{escape(str(value) if is_name else _text(value))}</td>'


def _text(value: Any) -> str:
    """Return a value as a reader wants it, on one line."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float | Decimal):
        return _rounded(float(value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, dict):
        return f"{{{_listed([f'{name}: {_text(each)}' for name, each in value.items()])}}}"
    if isinstance(value, list | tuple):
        return f"[{_listed([_text(each) for each in value])}]"
    text = printable(str(value))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _listed(items: list[str]) -> str:
    return ", ".join(items if len(items) <= SHOWN_ITEMS else [*items[: SHOWN_ITEMS - 1], "…"])


def _rounded(value: float) -> str:
    if math.isfinite(value) and abs(value) >= 10**DIGITS:
        return f"{value:,.0f}"
    return f"{value:#.{DIGITS}g}".rstrip(".")
