"""The library of example queries: dbt's analyses, each a question with the SQL that answers it."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
import yaml

from gatehouse.flows.console import answer
from gatehouse.flows.sql import tabular
from gatehouse.warehouse.connect import interruptible, query
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import DBT_PROJECT

ANALYSES = DBT_PROJECT / "analyses"
REFERENCE = re.compile(r"\{\{ ref\('(?:stg_)?([a-z][a-z0-9_]*)'\) \}\}")
"""How dbt names a table; those of the lake's own tables begin with stg_, their relations do not."""


@dataclass(frozen=True)
class Example:
    """One query of the library; `template` names tables as dbt does."""

    name: str
    description: str
    template: str

    @property
    def title(self) -> str:
        """The name, as a person writes it."""
        return self.name.replace("_", " ").capitalize()

    @property
    def question(self) -> str:
        """The first sentence of the description."""
        return re.split(r"(?<=[.?]) ", self.description, maxsplit=1)[0]

    @property
    def sql(self) -> str:
        """The query with the tables' own names."""
        return REFERENCE.sub(r'"\1"', self.template)

    def show(self, connection: duckdb.DuckDBPyConnection, form: str) -> None:
        """Print the title, the question and the result; as CSV and JSON the result alone.

        Raises:
            GatehouseError: a table that it reads is missing.
        """
        relation = self.run(connection)
        if form in ("table", "markdown"):
            answer(f"{'## ' if form == 'markdown' else ''}{self.title}\n\n{self.description}\n\n")
        with interruptible(connection):
            tabular.show(relation, form)
        if form == "markdown":
            answer("\n")

    def run(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        """Return the query's result, not yet read.

        Raises:
            GatehouseError: a table that it reads is missing: the warehouse is older than the query.
        """
        try:
            return query(connection, self.sql)
        except GatehouseError as error:
            raise GatehouseError(
                f"example {self.name}: {error}; `gatehouse build` makes the tables it reads"
            ) from error


def library(folder: Path = ANALYSES) -> dict[str, Example]:
    """Return the examples by name, in the order of `analyses.yml`."""
    described = yaml.safe_load((folder / "analyses.yml").read_text(encoding="utf-8"))
    return {
        each["name"]: Example(
            each["name"],
            " ".join(each["description"].split()),
            (folder / f"{each['name']}.sql").read_text(encoding="utf-8"),
        )
        for each in described["analyses"]
    }


def chosen(names: list[str]) -> list[Example]:
    """Return the examples with these names; for `all`, every one.

    Raises:
        GatehouseError: there is no such example.
    """
    known = library()
    if names == ["all"]:
        return list(known.values())
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = (
                f"did you mean {close[0]}?" if close else "`gatehouse sql --examples` lists them"
            )
            raise GatehouseError(f"no example {name!r}: {meant}")
    return [known[name] for name in names]


def listing() -> str:
    """Return the names, each with the question that it answers, and where the SQL is."""
    lines = [f"{each.name}\n    {each.question}" for each in library().values()]
    return "\n".join([*lines, f"The SQL of each is in {ANALYSES}."])
