"""What the interactive shell offers while a statement is typed: columns, tables, keywords, runs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import duckdb
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from gatehouse.warehouse.connect import relations

KEYWORDS = """
    select distinct from where group by having order limit offset join left inner full cross asof
    on using as with recursive union all except intersect values case when then else end and or not
    in is null between like ilike exists any asc desc nulls first last over partition window rows
    range qualify filter unnest lateral pivot unpivot describe summarize show tables count sum avg
    min max median quantile_cont stddev corr any_value arg_max arg_min list histogram round ln cast
    try_cast coalesce nullif greatest least row_number rank lag lead list_contains len true false
""".split()
COMMANDS = {
    ".tables": "the tables and views, and what a row of each is",
    ".columns": "the columns of a table, their types and meaning: .columns TABLE",
    ".schema": "the statements that make a table, or all: .schema [TABLE]",
    ".examples": "the library of example queries",
    ".example": "run one of them: .example NAME",
    ".mode": "how results are printed: .mode table, csv, json or markdown",
    ".output": "write results to a file, in the format of its suffix: .output FILE; alone: here",
    ".help": "these lines",
    ".exit": "leave (or .quit, exit, quit, Ctrl-D)",
}
MODES = ("table", "csv", "json", "markdown")
WORD = re.compile(r"[A-Za-z0-9_]*$")
QUALIFIED = re.compile(r"([A-Za-z0-9_]+)\.[A-Za-z0-9_]*$")
TABLE_EXPECTED = re.compile(r"\b(from|join|describe|summarize)\s+[A-Za-z0-9_]*$", re.IGNORECASE)
RUN_EXPECTED = re.compile(r"\brun_id\s*(?:=|!=|<>|in\s*\()\s*'([^']*)$", re.IGNORECASE)
ALIASED = re.compile(
    r"\b(?:from|join)\s+([A-Za-z0-9_]+)\s+(?:as\s+)?(?!join\b)([A-Za-z0-9_]+)", re.IGNORECASE
)
BUILDING_BLOCKS = ("stg_", "int_")


@dataclass(frozen=True)
class Catalog:
    """The names that can be typed: tables with their columns, runs, examples."""

    tables: dict[str, list[str]]
    runs: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, examples: Iterable[str]) -> "Catalog":
        """Read the catalog of an open warehouse, the latest runs first."""
        tables = relations(connection)
        runs = []
        if "finished_at" in tables.get("dim_run", []):
            latest = "select run_id from dim_run order by finished_at desc, run_id desc"
            runs = [run_id for (run_id,) in connection.execute(latest).fetchall()]
        return cls(tables, runs, list(examples))


class SqlCompleter(Completer):
    """Completes SQL over a catalog that may be replaced, and the shell's own commands."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield what can be typed at the cursor, the likeliest first, each name once."""
        before = document.text_before_cursor
        if before.lstrip().startswith("."):
            prefix, names = self._commands(before.lstrip())
        elif run := RUN_EXPECTED.search(before):
            prefix, names = run[1], self.catalog.runs
        else:
            found = WORD.search(before)
            prefix = found[0] if found else ""
            names = self._names(before, document.text, prefix) if _outside_quotes(before) else []
        for name in dict.fromkeys(names):
            if name.lower().startswith(prefix.lower()) and name != prefix:
                yield Completion(name, start_position=-len(prefix))

    def _commands(self, before: str) -> tuple[str, Iterable[str]]:
        command, space, argument = before.partition(" ")
        if not space:
            return command, COMMANDS
        return argument.lstrip(), {
            ".columns": [*self.catalog.tables],
            ".schema": [*self.catalog.tables],
            ".mode": MODES,
            ".example": self.catalog.examples,
        }.get(command, [])

    def _names(self, before: str, statement: str, prefix: str) -> list[str]:
        if qualified := QUALIFIED.search(before):
            return self.catalog.tables.get(self._table(qualified[1], statement), [])
        tables = self._tables(prefix)
        if TABLE_EXPECTED.search(before):
            return tables
        if not prefix:
            return []
        words = set(re.findall(r"[A-Za-z0-9_]+", statement))
        named = [name for name in self.catalog.tables if name in words] or tables
        columns = [column for name in named for column in self.catalog.tables[name]]
        return [*columns, *tables, *KEYWORDS]

    def _tables(self, prefix: str) -> list[str]:
        """Return the tables; those that marts are built from only if they are asked for."""
        wanted = len(prefix) > 2 and any(
            each.startswith(prefix.lower()) for each in BUILDING_BLOCKS
        )
        wanted = wanted or prefix.lower().startswith(BUILDING_BLOCKS)
        return [
            name for name in self.catalog.tables if wanted or not name.startswith(BUILDING_BLOCKS)
        ]

    def _table(self, name: str, statement: str) -> str:
        """Return the table that a name or an alias of the statement stands for."""
        aliases = {alias.lower(): table for table, alias in ALIASED.findall(statement)}
        return name if name in self.catalog.tables else aliases.get(name.lower(), name)


def _outside_quotes(before: str) -> bool:
    return before.count("'") % 2 == 0 and before.count('"') % 2 == 0
