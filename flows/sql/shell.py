"""The interactive shell of `gatehouse sql`."""

import difflib
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from gatehouse.flows.console import short_path
from gatehouse.flows.sql import examples, tabular
from gatehouse.flows.sql.completion import BUILDING_BLOCKS, COMMANDS, Catalog, SqlCompleter
from gatehouse.warehouse.connect import connect, without_semicolon
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted


class Session:
    """A read-only connection that follows the database: a build puts a new file in its place."""

    def __init__(self, paths: Paths, *, external_access: bool = False) -> None:
        """Open the warehouse.

        Raises:
            GatehouseError: there is none yet, or it cannot be opened.
        """
        self.paths = paths
        self.external_access = external_access
        self._opened: tuple[int, int] | None = None
        self.completer = SqlCompleter(Catalog({}))
        self._open()

    def follow(self) -> bool:
        """Reopen the database if it is a different file from before; return whether it was.

        Raises:
            GatehouseError: it is gone, or it cannot be opened.
        """
        found = _inode(self.paths.database)
        if found is not None and found == self._opened:
            return False
        self.close()
        self._open()
        return True

    def close(self) -> None:
        """Let go of the database."""
        self.connection.close()
        self._opened = None

    def _open(self) -> None:
        opened = _inode(self.paths.database)
        self.connection = connect(self.paths, external_access=self.external_access)
        self._opened = opened
        self.completer.catalog = Catalog.of(self.connection, examples.library())


def interact(paths: Paths, form: str, *, external_access: bool = False) -> None:
    """Read statements from the terminal until Ctrl-D and print each one's result.

    Args:
        paths: the warehouse; the history of statements is kept in its home.
        form: how results are printed: table, csv, json or markdown.
        external_access: statements may read and write files other than the lake's.

    Raises:
        GatehouseError: there is no warehouse yet, or it cannot be opened.
    """
    with closing(Session(paths, external_access=external_access)) as session, _default_interrupts():
        prompt: PromptSession[str] = PromptSession(
            "gatehouse> ",
            prompt_continuation="      ...> ",
            multiline=Condition(lambda: not _is_whole(get_app().current_buffer.text)),
            lexer=PygmentsLexer(SqlLexer),
            completer=session.completer,
            history=_history(paths.root / "sql_history"),
        )
        print(_banner(session))
        while (text := _typed(prompt)) is not None:
            try:
                _answer(session, text, form)
            except GatehouseError as error:
                print(error, file=sys.stderr)
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
            except EOFError:
                return


def _typed(prompt: PromptSession[str]) -> str | None:
    """Return what was entered, nothing after Ctrl-C, None after Ctrl-D."""
    try:
        return prompt.prompt()
    except KeyboardInterrupt:
        return ""
    except EOFError:
        return None


def _answer(session: Session, text: str, form: str) -> None:
    if session.follow():
        print("the warehouse was rebuilt: reading the new one", file=sys.stderr)
    if text.lstrip().startswith("."):
        command, *arguments = text.strip().removesuffix(";").split()
        _obey(session, command, arguments, form)
    else:
        tabular.show_each(session.connection, text, form)


def _obey(session: Session, command: str, arguments: list[str], form: str) -> None:
    """Carry out one of the shell's own commands."""
    if command == ".quit":
        raise EOFError
    if command == ".tables":
        print(_tables(session))
    elif command == ".columns" and len(arguments) == 1:
        print(_columns(session, arguments[0]))
    elif command == ".examples":
        print(examples.listing())
    elif command == ".example" and arguments:
        for example in examples.chosen(arguments):
            example.show(session.connection, form)
    elif command == ".help":
        print("\n".join(f"{name:<10} {does}" for name, does in COMMANDS.items()))
    else:
        raise GatehouseError(
            f"{command} needs a name: {COMMANDS[command]}"
            if command in COMMANDS
            else f"no command {command}: .help lists them"
        )


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
        [table.lower()],
    ).fetchall()
    if not rows:
        close = difflib.get_close_matches(table, session.completer.catalog.tables, n=1)
        meant = f"did you mean {close[0]}?" if close else ".tables lists them"
        raise GatehouseError(f"no table {table}: {meant}")
    widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
    return "\n".join(
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {' '.join((comment or '').split())}".rstrip()
        for name, kind, comment in rows
    )


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).partition(". ")[0].rstrip(".")


def _banner(session: Session) -> str:
    runs = session.completer.catalog.runs
    latest, example = (f", the latest {runs[0]}", runs[0]) if runs else ("", "…")
    reach = ", other files within reach" if session.external_access else ""
    finished = counted(len(runs), "finished run")
    return f"""{short_path(session.paths.database)}, read-only{reach}: {finished}{latest}
.tables lists the tables, .columns TABLE a table's columns, .examples ready queries, .help the rest.
Every table holds all runs: `where run_id = '{example}'` reads that run's files only.
A statement ends with ; and may take several lines. Ctrl-C stops it, Ctrl-D leaves."""


def _is_whole(text: str) -> bool:
    """Return whether Enter runs the text: a command, nothing, or text that ends in a semicolon."""
    bare = text.strip()
    return not bare or bare.startswith(".") or without_semicolon(bare) != bare


def _history(path: Path) -> History:
    try:
        path.touch(mode=0o600)
        path.open("ab").close()
    except OSError:  # a home that can only be read
        return InMemoryHistory()
    return FileHistory(path)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _default_interrupts() -> Iterator[None]:
    """Let Ctrl-C end a statement and not the program, whatever it did before."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
