"""The interactive shell of `gatehouse sql`."""

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

from gatehouse.flows import process
from gatehouse.flows.console import answer, short_path
from gatehouse.flows.sql import tabular
from gatehouse.flows.sql.commands import LEAVING, obey
from gatehouse.flows.sql.session import Session
from gatehouse.warehouse.connect import without_semicolon
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted

ENDED_BY: dict[int, str] = {
    signal.SIGINT: "interrupted; the statement could not be stopped alone, so the shell has ended",
    signal.SIGTERM: "terminated",
}
"""Signals that end the shell if a statement does not end, and the line that it then prints."""


def interact(paths: Paths, form: str, *, external_access: bool = False) -> None:
    """Read statements from the terminal until Ctrl-D and print each one's result.

    Args:
        paths: the warehouse; the history of statements is kept in its home.
        form: how results are printed: table, csv, json or markdown.
        external_access: statements may read and write files other than the lake's.

    Raises:
        GatehouseError: there is no warehouse yet, or it cannot be opened.
    """
    with (
        closing(Session(paths, form, external_access=external_access)) as session,
        _default_interrupts(),
    ):
        prompt: PromptSession[str] = PromptSession(
            "gatehouse> ",
            prompt_continuation="      ...> ",
            multiline=Condition(lambda: not _is_whole(get_app().current_buffer.text)),
            lexer=PygmentsLexer(SqlLexer),
            completer=session.completer,
            history=_history(paths.root / "sql_history"),
        )
        answer(_banner(session))
        while (text := _typed(prompt)) is not None:
            # prompt_toolkit leaves nobody who listens for signals
            clock = process.EndInTime(ENDED_BY)
            try:
                _answer(session, text)
            except GatehouseError as error:
                print(error, file=sys.stderr)
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
            except EOFError:
                return
            finally:
                clock.stop()


def _typed(prompt: PromptSession[str]) -> str | None:
    """Return what was entered, nothing after Ctrl-C, None after Ctrl-D."""
    try:
        return prompt.prompt()
    except KeyboardInterrupt:
        return ""
    except EOFError:
        return None


def _answer(session: Session, text: str) -> None:
    if session.follow():
        print("the warehouse was rebuilt: reading the new one", file=sys.stderr)
    if _is_command(text):
        obey(session, text)
        return
    with session.results():
        tabular.show_each(session.connection, text, session.form)


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
    return not bare or _is_command(bare) or without_semicolon(bare) != bare


def _is_command(text: str) -> bool:
    bare = text.strip()
    return bare.startswith(".") or bare.removesuffix(";").strip().lower() in LEAVING


def _history(path: Path) -> History:
    try:
        path.touch(mode=0o600)
        path.open("ab").close()
    except OSError:  # a home that can only be read
        return InMemoryHistory()
    return FileHistory(path)


@contextmanager
def _default_interrupts() -> Iterator[None]:
    """Let Ctrl-C end a statement and not the program, whatever it did before."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
