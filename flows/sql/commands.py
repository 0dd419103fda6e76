"""The shell's own commands, which begin with a dot."""

import difflib
from collections.abc import Callable
from pathlib import Path

from gatehouse.flows.console import answer
from gatehouse.flows.sql import examples
from gatehouse.flows.sql.completion import BUILDING_BLOCKS, COMMANDS, MODES
from gatehouse.flows.sql.session import Session
from gatehouse.flows.sql.tabular import SUFFIXES
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted

LEAVING = ("exit", "quit", ".exit", ".quit")
"""What leaves the shell, with or without a semicolon."""

IN_NEED = (".columns", ".example")
"""Commands that do nothing without a name."""


def obey(session: Session, text: str) -> None:
    """Carry out a command.

    Raises:
        EOFError: it leaves the shell.
        GatehouseError: there is no such command, or it lacks what it needs.
    """
    command, _, argument = text.strip().removesuffix(";").strip().partition(" ")
    if command.lower() in LEAVING:
        raise EOFError
    if command not in DOING:
        raise GatehouseError(f"no command {command}: .help lists them")
    if command in IN_NEED and not argument.strip():
        raise GatehouseError(f"{command} needs a name: {COMMANDS[command]}")
    DOING[command](session, argument.strip())


def _show_tables(session: Session, argument: str) -> None:
    answer(_tables(session))


def _show_columns(session: Session, table: str) -> None:
    answer(_columns(session, table))


def _show_schema(session: Session, table: str) -> None:
    """Print the statements that make one table or view, or all that people query."""
    rows = session.connection.execute(
        "select table_name, sql from duckdb_tables() where database_name = 'gatehouse' "
        "union all select view_name, sql from duckdb_views() "
        "where not internal and database_name = 'gatehouse'"
    ).fetchall()
    made = {name: sql.strip().removesuffix(";") for name, sql in rows}
    if table:
        names = [_known(session, table)]
    else:
        known = session.completer.catalog.tables
        names = [name for name in known if not name.startswith(BUILDING_BLOCKS)]
    answer("\n".join(f"{made[name]};" for name in names if name in made))


def _list_examples(session: Session, argument: str) -> None:
    answer(examples.listing())


def _run_examples(session: Session, names: str) -> None:
    for example in examples.chosen(names.split()):
        with session.results():
            example.show(session.connection, session.form)


def _choose_mode(session: Session, mode: str) -> None:
    if not mode:
        answer(session.form)
    elif mode in MODES:
        session.form = mode
    else:
        raise GatehouseError(f"no mode {mode}: choose one of {', '.join(MODES)}")


def _choose_output(session: Session, name: str) -> None:
    """Write results to a file from now on, in the format of its suffix; nameless: to the screen."""
    bare = name.strip("'\"")
    if not bare:
        session.write_to(None)
        return
    suffix = SUFFIXES.get(Path(bare).suffix.lower(), session.form)
    if suffix == "parquet":
        raise GatehouseError(
            '.output takes text: gatehouse sql "select …" --output FILE.parquet writes Parquet'
        )
    session.write_to(Path(bare))
    session.form = suffix


def _show_help(session: Session, argument: str) -> None:
    answer("\n".join(f"{name:<10} {does}" for name, does in COMMANDS.items()))


DOING: dict[str, Callable[[Session, str], None]] = {
    ".tables": _show_tables,
    ".columns": _show_columns,
    ".schema": _show_schema,
    ".examples": _list_examples,
    ".example": _run_examples,
    ".mode": _choose_mode,
    ".output": _choose_output,
    ".help": _show_help,
}


def _tables(session: Session) -> str:
    """Return the tables and views that people query, with what a row of each is."""
    comments = dict(
        session.connection.execute(
            "select table_name, comment from duckdb_tables() "
            "union all select view_name, comment from duckdb_views() where not internal"
        ).fetchall()
    )
    tables = session.completer.catalog.tables
    names = [name for name in tables if not name.startswith(BUILDING_BLOCKS)]
    widest = max(map(len, names), default=0)
    lines = [f"{name:<{widest}}  {_first_sentence(comments.get(name))}".rstrip() for name in names]
    if others := len(tables) - len(names):
        lines.append(
            f"`show tables` also lists the {counted(others, 'table')} they are built from."
        )
    return "\n".join(lines)


def _columns(session: Session, table: str) -> str:
    """Return the table's columns, their types and descriptions."""
    rows = session.connection.execute(
        "select column_name, lower(data_type), comment from duckdb_columns() "
        "where table_name = $1 and not internal order by column_index",
        [_known(session, table)],
    ).fetchall()
    widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
    return "\n".join(
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {' '.join((comment or '').split())}".rstrip()
        for name, kind, comment in rows
    )


def _known(session: Session, table: str) -> str:
    """Return the table's own name.

    Raises:
        GatehouseError: there is no such table.
    """
    names = session.completer.catalog.tables
    if table.lower() in names:
        return table.lower()
    close = difflib.get_close_matches(table, names, n=1)
    meant = f"did you mean {close[0]}?" if close else ".tables lists them"
    raise GatehouseError(f"no table {table}: {meant}")


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).partition(". ")[0].rstrip(".")
