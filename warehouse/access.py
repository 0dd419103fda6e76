"""What statements may reach: the lake and nothing else, or everything that this user may."""

import re
from pathlib import Path

import duckdb

from gatehouse.warehouse.errors import GatehouseError

PATTERN = re.compile(r"[*?[]")

NAME = re.compile(
    r"""'(?P<string>(?:[^']|'')*)'|"(?P<identifier>(?:[^"]|"")*)"|\$(\w*)\$(?P<dollars>.*?)\$\3\$""",
    re.DOTALL,
)
"""What may name a file: a string in quotes or between dollars, or a quoted identifier."""


def close_to_all_but(lake: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Confine the session to the lake for good: no other files, databases or extensions."""
    # DuckDB follows links before it compares, so a lake on another disk needs both of its names
    named = {f"{lake}/", f"{lake.resolve()}/"}
    # and it compares patterns literally: this is how the views write a home with pattern characters
    folders = sorted(named | {PATTERN.sub(r"[\g<0>]", folder) for folder in named})
    connection.execute("set allowed_directories = $folders", {"folders": folders})
    # otherwise DuckDB looks on the network for an extension that has an unknown function
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def kind_of(statement: duckdb.Statement) -> duckdb.StatementType | None:
    """Return the kind of a statement, None for one that DuckDB's client has no name for."""
    try:
        return statement.type
    except ValueError:  # such as `update extensions`
        return None


def has_external_access(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether statements can reach files outside the lake."""
    # a result that is not read to its end would keep its transaction open
    rows = connection.execute("select current_setting('enable_external_access')").fetchall()
    return bool(rows[0][0])


def keep_off_the_warehouse(
    connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement
) -> None:
    """Refuse a statement that detaches the warehouse, or names its database or lake as a target.

    The query in `copy (query) to …` may read the lake. This guards against slips, not against
    malicious SQL, which could assemble a name. The tables themselves are attached read-only, and
    DuckDB attaches no file twice.

    Raises:
        GatehouseError: it does.
    """
    if kind_of(statement) == duckdb.StatementType.DETACH and "gatehouse" in statement.query.lower():
        raise GatehouseError("gatehouse stays attached: leave the shell to detach it")
    rows = connection.execute(
        "select path from duckdb_databases() where database_name = 'gatehouse'"
    ).fetchall()
    if not rows:
        raise GatehouseError("gatehouse is not attached: open a new session")
    database = Path(rows[0][0])
    lake = database.parent / "lake"
    for name in _names(_without_its_query(statement.query)):
        if "\0" in name:
            raise GatehouseError("a file name cannot contain a NUL character: leave it out")
        named = Path(name.removeprefix("file://localhost").removeprefix("file://"))
        # DuckDB does not expand a ~ that names another user
        home = Path.home() / named.relative_to("~") if named.parts[:1] == ("~",) else named
        target = home.absolute().resolve()
        if target == database.resolve() or target.is_relative_to(lake.resolve()):
            raise GatehouseError(
                f"{target} belongs to the warehouse, which only dbt and the capture write: name "
                "another file"
            )


def _names(text: str) -> list[str]:
    return [
        (found["string"] or "").replace("''", "'")
        or (found["identifier"] or "").replace('""', '"')
        or found["dollars"]
        or ""
        for found in NAME.finditer(text)
    ]


def _without_its_query(statement: str) -> str:
    """Return `copy (query) to …` without the query, unless that query copies, too."""
    encoded = statement.encode()
    found = duckdb.tokenize(statement)
    # offsets count bytes
    ends = [offset for offset, _ in found[1:]] + [len(encoded)]
    words = [
        (encoded[start:end].strip().lower(), start)
        for (start, kind), end in zip(found, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]
    if [word for word, _ in words[:2]] != [b"copy", b"("]:
        return statement
    depth = 0
    for place, (word, start) in enumerate(words):
        depth += (word == b"(") - (word == b")")
        if place and not depth:
            inside = {each for each, _ in words[1:place]}
            return statement if b"copy" in inside else encoded[start:].decode()
    return statement
