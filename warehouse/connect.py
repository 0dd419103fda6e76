"""A read-only DuckDB session over the marts and the lake; `notebook.connect` is the users' own."""

import os
import re
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from gatehouse.warehouse.access import (
    close_to_all_but,
    has_external_access,
    keep_off_the_warehouse,
    keep_to_the_lake,
    kind_of,
)
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.storage.places import register_bucket

READ_ONLY = "the warehouse is read-only: give one `select` statement"
HINT = re.compile(r"^(Did you mean .*|Candidate bindings: .*)$", re.MULTILINE)
HOLDER = re.compile(r"Conflicting lock is held in (.*?) \(PID (\d+)\)")
"""How DuckDB names the program and the process that has a database open."""

DAMAGED = re.compile(
    r"Corrupt database file|not a valid DuckDB"
    r'|Could not read enough bytes from file "[^"]*gatehouse\.duckdb"'
)
"""What DuckDB says of a database that was cut or altered, often when it is read, not opened."""

TRACEBACK = "Traceback (most recent call last)"

LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
SECONDS_BETWEEN_INTERRUPTS = 0.1


def connect(
    paths: Paths | None = None, *, external_access: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open the warehouse read-only: marts by name, the lake's `events` and `vocabulary`.

    Files outside the lake, other databases and extensions are out of reach; with
    `external_access`, statements read and write files as this user can, and find DataFrames in the
    variables of whoever calls `sql` (DuckDB ties the two together). The database's views find
    the lake in the home that `paths` names, wherever it was when they were built.

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
        # a separate instance: connections to one path would share one, with its settings, and keep
        # reading a file that a build has replaced
        connection = duckdb.connect(config={"temp_directory": f"{paths.database}.tmp"})
        connection.execute(attach_statement(paths.database))
        connection.execute("use gatehouse")
        connection.execute("set variable gatehouse_home = $home", {"home": str(paths.root)})
        if paths.bucket:
            connection.execute("set variable gatehouse_lake = $lake", {"lake": str(paths.bucket)})
            register_bucket(connection, paths.bucket, confined=not external_access)
        if not external_access:
            close_to_all_but(paths.lake, connection)
    except duckdb.Error as error:
        raise GatehouseError(_why_not_opened(paths.database, error)) from error
    return connection


def _why_not_opened(database: Path, error: duckdb.Error) -> str:
    """Return why a database cannot be opened, and the way out that fits the cause."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "lock on file" in said:
        holder = HOLDER.search(said)
        by = f"by process {holder[2]} ({holder[1]})" if holder else "in another program"
        return f"{database} is open for writing {by}: close it there, or open it read-only there"
    if "different configuration" in said or "already attached" in said:
        return f"{database} is open in this Python already ({said}): close that connection first"
    if "storage version" in said or "newer version" in said:
        return (
            f"{database} was written by a newer DuckDB than {duckdb.__version__} ({said}): use the "
            "environment that built it"
        )
    if "not a valid DuckDB" in said or "Corrupt" in said or "read enough bytes" in said:
        return (
            f"cannot open {database}: {said}; delete the file and run `gatehouse build` (the lake "
            "has everything)"
        )
    if not os.access(database, os.R_OK):
        return f"cannot open {database}: you may not read it: ask its owner to let you"
    return f"cannot open {database}: {said}; put that right and run the same command again"


def attach_statement(database: Path) -> str:
    """Return the statement that opens a database file read-only under the name of its views."""
    path = str(database).replace("'", "''")
    return f"attach '{path}' as gatehouse (read_only)"


def statements(connection: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """Return the statements of a text, without their semicolons, as DuckDB's parser splits it.

    Raises:
        GatehouseError: the text is not SQL, a statement does more than read on a connection without
            external access, or it names a file of the warehouse or one behind a link.
    """
    with errors_in_one_line():
        found = connection.extract_statements(_in_utf_8(text))
    others = [each for each in found if kind_of(each) != duckdb.StatementType.SELECT]
    if others and not has_external_access(connection):
        raise GatehouseError(READ_ONLY)
    for statement in found:
        keep_to_the_lake(connection, statement.query)
    for statement in others:
        keep_off_the_warehouse(connection, statement)
    return [without_semicolon(statement.query) for statement in found]


def _in_utf_8(text: str) -> str:
    """Return a text that came through a terminal which is not in UTF-8 as it was typed.

    Raises:
        GatehouseError: its bytes are not UTF-8 either.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as error:
        raise GatehouseError("the query is not in UTF-8: put it into UTF-8") from error


def query(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation:
    """Return the result of one read-only statement, which cannot write anything.

    Rows are computed when the relation is read; columns of the same name are numbered. On a
    connection with external access, any other statement runs at once, but none can write to the
    warehouse.

    Raises:
        GatehouseError: the text is not one valid `select`, `from`, `with`, `describe` or `show`.
    """
    found = statements(connection, text)
    if len(found) != 1:
        raise GatehouseError(READ_ONLY)
    with errors_in_one_line():
        (statement,) = connection.extract_statements(found[0])
        if kind_of(statement) != duckdb.StatementType.SELECT:
            return connection.from_arrow(_carried_out(connection, found[0]))
        # `with x as (copy … to …) select …` counts as a SELECT, but DuckDB refuses it in brackets
        relation = connection.sql("\n".join(["select * from (", found[0], ")"]))
    assert relation is not None
    return relation


def _carried_out(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.Table:
    with warnings.catch_warnings():
        # a relation would run the statement again each time it is read
        warnings.simplefilter("ignore", UserWarning)
        return connection.execute(statement).to_arrow_table()


def relations(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Return each table's and view's columns: marts first, then views of the lake, then the rest.

    The rest are dimensions, then what the marts are built from (`int_`, `stg_`).
    """
    rows = connection.execute(
        """
        select
            table_name,
            list(column_name order by column_index)
        from duckdb_columns()
        where not internal and schema_name = 'main'
        group by table_name
        order by
            case
                when starts_with(table_name, 'fct_') then 0
                when starts_with(table_name, 'dim_') then 2
                when starts_with(table_name, 'int_') then 3
                when starts_with(table_name, 'stg_') then 4
                else 1
            end,
            table_name
        """
    ).fetchall()
    return dict(rows)


def without_semicolon(statement: str) -> str:
    """Return a statement without the semicolons at its end and any comment after them."""
    encoded = statement.encode()
    # offsets count bytes
    tokens = [
        (offset, encoded[offset : offset + 1])
        for offset, kind in duckdb.tokenize(statement)
        if kind != duckdb.token_type.comment
    ]
    while tokens and tokens[-1][1] == b";":
        offset, _ = tokens.pop()
        encoded = encoded[:offset]
    return encoded.decode()


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn each DuckDB error in the block into one line, with DuckDB's own hint if it has one.

    Raises:
        GatehouseError: DuckDB or Arrow raised an error, DuckDB's as an OSError in a batch reader.
    """
    try:
        yield
    except BrokenPipeError:  # the program that reads the output has read enough
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise GatehouseError(one_line(error)) from error


@contextmanager
def interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let Ctrl-C stop the query that runs in the block, and then act as it does elsewhere.

    Python's handlers wait until DuckDB gives the main thread back, which may be after the query, so
    a separate thread receives the signal at once and interrupts the connection.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed, over = threading.Event(), threading.Event()
    heard, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    previous = signal.signal(signal.SIGINT, lambda number, frame: None)
    previous_wakeup = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(
        target=_interrupt_when_told,
        args=(connection, heard, previous_wakeup, pressed, over),
        daemon=True,
    )
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        over.set()
        wakeup.close()
        watcher.join()
        heard.close()
        signal.signal(signal.SIGINT, previous)
        if pressed.is_set():
            signal.raise_signal(signal.SIGINT)


def _interrupt_when_told(
    connection: duckdb.DuckDBPyConnection,
    heard: socket.socket,
    next_to_hear: int,
    pressed: threading.Event,
    over: threading.Event,
) -> None:
    while number := heard.recv(1):
        if next_to_hear >= 0:
            with suppress(OSError):
                os.write(next_to_hear, number)
        if number[0] == signal.SIGINT:
            pressed.set()
            connection.interrupt()
            # an interrupt between two queries is lost
            while not over.wait(SECONDS_BETWEEN_INTERRUPTS):
                connection.interrupt()


def one_line(error: BaseException) -> str:
    """Return what an error of DuckDB or Arrow says: its first line, its hint, and a way out."""
    message = str(error)
    # what a bucket says comes to DuckDB as an exception of Python
    if message.startswith(TRACEBACK):
        return message.strip().splitlines()[-1].partition(": ")[2] or message.splitlines()[-1]
    first = message.splitlines()[0] if message else type(error).__name__
    if "must be at the top level" in first:
        return READ_ONLY
    if DAMAGED.search(first):
        return f"the database is damaged ({first}): `gatehouse verify --repair` builds it afresh"
    if hint := HINT.search(message):
        first = f"{first} {hint[1]}"
    if isinstance(error, duckdb.ParserException) and (line := LINE.search(message)):
        return f"{first} in line {line[1]}"
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return f"{first} (`show tables` lists the tables, `describe TABLE` its columns)"
    return first
