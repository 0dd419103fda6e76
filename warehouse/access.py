"""What statements may reach: the lake and nothing else, or everything that this user may."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import Reserved
from gatehouse.warehouse.runs.layout import TABLES
from gatehouse.warehouse.storage.addresses import Place

PATTERN = re.compile(r"[*?[]")

NAME = re.compile(
    r"""'(?P<string>(?:[^']|'')*)'|"(?P<identifier>(?:[^"]|"")*)"|\$(\w*)\$(?P<dollars>.*?)\$\3\$""",
    re.DOTALL,
)
"""What may name a file: a string in quotes or between dollars, or a quoted identifier."""

FILE = re.compile(r"^file:(//localhost)?(//)?(?=/)")
"""How DuckDB lets a path begin that is written as an address."""

READS_FILES = re.compile(r"read_|parquet_|sniff_|glob$|query|json_execute")
RUNS_SQL = re.compile(r"query|json_execute")
WRITES_LOGS = re.compile(r"\benable_(logging|profiling)\b", re.IGNORECASE)
"""Functions of a `select` that take the names of files: to read, as SQL, and to write."""

Word = tuple[str, duckdb.token_type, int]
"""A token of a statement: its text, its kind, and where it begins, in bytes."""


def close_to_all_but(lake: Place, connection: duckdb.DuckDBPyConnection) -> None:
    """Confine the session to the lake for good: no other files, databases or extensions."""
    named = {f"{folder}/" for folder in _readable(lake)} if isinstance(lake, Path) else {f"{lake}/"}
    # DuckDB compares patterns literally: this is how the views write a home with pattern characters
    folders = sorted(named | {PATTERN.sub(r"[\g<0>]", folder) for folder in named})
    connection.execute("set allowed_directories = $folders", {"folders": folders})
    # otherwise DuckDB looks on the network for an extension that has an unknown function
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _readable(lake: Path) -> Iterator[Path]:
    """Yield the folders of the lake that may be read, under each of their names.

    DuckDB follows links before it compares, so a folder on another disk needs both of its names.
    But it takes `..` away before that, and `LINK/../file` is then a file beside the link: where the
    lake holds a link, only the folders beside it may be read.
    """
    links = [each for each in _folders_linked(lake) if each.parent == lake]
    for root in {lake, lake.resolve()}:
        if links:
            yield from (root / name for name in (*TABLES, "names", "readings", "locks"))
        else:
            yield root
    for table in TABLES:
        yield (lake / table).resolve()
        yield from (each.resolve() for each in _folders_linked(lake / table))


def _folders_linked(folder: Path) -> list[Path]:
    return [each for each in folder.glob("*") if each.is_symlink() and each.is_dir()]


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
    """Refuse a statement that detaches the warehouse, or names what is reserved as a target.

    Reserved are its files and the results of its runs, and folders above them as the target of a
    `copy` or an `export`, which can empty a folder. The query in `copy (query) to …` may read the
    lake. This guards against slips, not against malicious SQL, which could assemble a name. The
    tables themselves are attached read-only, and DuckDB attaches no file twice.

    Raises:
        GatehouseError: it does.
    """
    if kind_of(statement) == duckdb.StatementType.DETACH and "gatehouse" in statement.query.lower():
        raise GatehouseError("gatehouse stays attached: leave the shell to detach it")
    words = _words(statement.query)
    reserved, home = Reserved(_warehouse(connection)), _home(connection)
    _refuse_reserved(_strings(_without_its_query(statement.query, words)), reserved, home)
    for target in map(lambda name: _path(name, home), _targets(connection, words)):
        if reserved.has(target):
            raise _belongs(target)
        if reserved.lies_in(target):
            raise GatehouseError(f"the warehouse lies in {target}: name another file or folder")


def keep_to_the_lake(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse a query that leads out of the lake where DuckDB would not see it.

    In a confined session: a name with `..` behind a link, and where folders of the lake are links,
    a name that is not simply a string. With external access: a log in the warehouse.

    Raises:
        GatehouseError: it does.
    """
    if has_external_access(connection):
        if WRITES_LOGS.search(query):
            warehouse = _warehouse(connection)
            _refuse_reserved(_strings(query), Reserved(warehouse), _home(connection))
        return
    for name in _strings(query):
        path = FILE.sub("", name)
        if ".." in path.split("/") and "\0" not in path:
            # a pattern that stands for one character is how a home with such a name is written
            plain = re.sub(r"\[(.)\]", r"\1", path)
            if os.path.realpath(plain) != os.path.realpath(os.path.normpath(plain)):
                raise GatehouseError(f"{name} leads through a link: name the file without `..`")
    # in a bucket there are no links
    lake = _warehouse(connection).root / "lake"
    if any(_folders_linked(folder) for folder in (lake, *(lake / table for table in TABLES))):
        _refuse_assembled(_words(query))


def _refuse_assembled(words: list[Word]) -> None:
    """Refuse functions that read files unless one string says which: what it says has been seen."""
    string = duckdb.token_type.string_const
    end: Word = ("", duckdb.token_type.operator, 0)
    for name, bracket, first, after in zip(
        words, words[1:], [*words[2:], end], [*words[3:], end, end], strict=False
    ):
        called = name[0].strip('"').lower()
        if bracket[0] != "(" or not READS_FILES.match(called):
            continue
        simple = first[1] == string and first[0][0] in "'$" and after[0] in (",", ")")
        if RUNS_SQL.match(called) or not simple:
            raise GatehouseError(
                f"a folder of the lake is a link: give {called} the name of one file, in quotes"
            )


def _warehouse(connection: duckdb.DuckDBPyConnection) -> Paths:
    rows = connection.execute(
        "select path from duckdb_databases() where database_name = 'gatehouse'"
    ).fetchall()
    if not rows:
        raise GatehouseError("gatehouse is not attached: open a new session")
    return Paths(Path(rows[0][0]).parent)


def _home(connection: duckdb.DuckDBPyConnection) -> Path:
    """Return what DuckDB puts for a `~`."""
    rows = connection.execute("select current_setting('home_directory')").fetchall()
    return Path(rows[0][0] or Path.home())


def _path(name: str, home: Path) -> Path:
    """Return the path that DuckDB opens for a name."""
    if "\0" in name:
        raise GatehouseError("a file name cannot contain a NUL character: leave it out")
    named = Path(FILE.sub("", name))
    # DuckDB does not expand a ~ that names another user
    return home / named.relative_to("~") if named.parts[:1] == ("~",) else named


def _refuse_reserved(names: list[str], reserved: Reserved, home: Path) -> None:
    for name in names:
        if name and reserved.has(target := _path(name, home)):
            raise _belongs(target)


def _belongs(target: Path) -> GatehouseError:
    return GatehouseError(
        f"{os.path.realpath(target)} belongs to the warehouse, which only Gatehouse writes: name "
        "another file"
    )


def _strings(text: str) -> list[str]:
    return [
        (found["string"] or "").replace("''", "'")
        or (found["identifier"] or "").replace('""', '"')
        or found["dollars"]
        or ""
        for found in NAME.finditer(text)
    ]


def _words(statement: str) -> list[Word]:
    """Return a statement's tokens without its comments."""
    encoded = statement.encode()
    found = duckdb.tokenize(statement)
    # offsets count bytes
    ends = [offset for offset, _ in found[1:]] + [len(encoded)]
    return [
        (encoded[start:end].decode().strip(), kind, start)
        for (start, kind), end in zip(found, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]


def _targets(connection: duckdb.DuckDBPyConnection, words: list[Word]) -> Iterator[str]:
    """Yield what the parts of a statement that copy or export write into."""
    lower = [word.lower() for word, _, _ in words]
    if not {"copy", "export"} & set(lower):
        return
    for place, word in enumerate(lower[:-1], start=1):
        exported = word == "database" and words[place][1] == duckdb.token_type.string_const
        if word == "to" or exported:
            yield _target(connection, words[place:])


def _target(connection: duckdb.DuckDBPyConnection, words: list[Word]) -> str:
    """Return the name that stands at the beginning of some words, or is computed there."""
    string, end = duckdb.token_type.string_const, 1
    if words[0][0] == "(":
        end = _closing(words)
    elif words[0][1] == string:
        while end < len(words) and words[end][1] == string:
            end += 1
    elif words[0][1] in (duckdb.token_type.identifier, duckdb.token_type.keyword):
        while end + 1 < len(words) and words[end][0] == ".":
            end += 2
        return "".join(word.strip('"').replace('""', '"') for word, _, _ in words[:end])
    text = "\n".join(word for word, _, _ in words[:end])
    try:
        return str(connection.execute(f"select {text}").fetchall()[0][0])
    except duckdb.Error as error:
        raise GatehouseError(
            f"it is not certain what {' '.join(text.split())} names: write the file in quotes"
        ) from error


def _closing(words: list[Word]) -> int:
    """Return how many words a part in brackets has that stands at the beginning of some words."""
    depth = 0
    for place, (word, _, _) in enumerate(words, start=1):
        depth += (word == "(") - (word == ")")
        if not depth:
            return place
    return len(words)


def _without_its_query(statement: str, words: list[Word]) -> str:
    """Return `copy (query) to …` without the query, unless that query copies, too."""
    if [word.lower() for word, _, _ in words[:2]] != ["copy", "("]:
        return statement
    end = 1 + _closing(words[1:])
    if end == len(words) or "copy" in {word.lower() for word, _, _ in words[1:end]}:
        return statement
    return statement.encode()[words[end][2] :].decode()
