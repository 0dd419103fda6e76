"""From a row of any corpus to its document: which fields count, what cannot be read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gatehouse.warehouse.errors import GatehouseError

TEXT = "text"
DOMAIN = "domain"
NAMES = ("id", "name")
"""Fields that name a document; the first one present wins."""

LISTED_FIELDS = 20


class Document(NamedTuple):
    """One text of a corpus as it was found there; it may be empty."""

    name: str
    domain: str
    text: str


class Broken(NamedTuple):
    """One line or row of a corpus that cannot be read as a document.

    `what` names its place and what is wrong there, `remedy` is the way out.
    """

    what: str
    remedy: str

    @property
    def error(self) -> GatehouseError:
        """The error that refuses a corpus with such a line."""
        return GatehouseError(
            f"{self.what}: {self.remedy}, or leave broken lines out with --skip-broken"
        )


def document_of(row: Mapping[str, Any], where: str, name: str, domain: str) -> Document | Broken:
    """Read `text`, and `domain` and `id` (or `name`) where the row has them.

    Args:
        row: one record; a null text counts as an empty one.
        where: file and line, or dataset and row, as a message names it.
        name: the document's name where the row gives none.
        domain: its domain where the row gives none.

    Returns:
        The document, or what is broken: no field `text`, or one that is not a string.
    """
    if TEXT not in row:
        return _no_text(where, list(row))
    text = row[TEXT]
    if text is not None and not isinstance(text, str):
        kind = type(text).__name__
        return Broken(f"{where} has a field text of type {kind}", "it must hold a string")
    return Document(
        name=str(_first(row, NAMES, name)),
        domain=str(_first(row, (DOMAIN,), domain)),
        text=text or "",
    )


def _first(row: Mapping[str, Any], fields: tuple[str, ...], default: str) -> Any:
    return next((row[field] for field in fields if row.get(field) not in (None, "")), default)


def known_columns(where: str, columns: list[str]) -> list[str]:
    """Return those of a table's columns that `document_of` reads.

    Raises:
        GatehouseError: `text` is not among them; the message names the columns that there are.
    """
    if TEXT not in columns:
        broken = _no_text(where, columns)
        # no row of such a table can be read: it is the wrong dataset, not one with a broken line
        raise GatehouseError(f"{broken.what}: {broken.remedy}")
    return [column for column in (TEXT, DOMAIN, *NAMES) if column in columns]


def _no_text(where: str, columns: list[str]) -> Broken:
    listed = ", ".join(map(repr, columns[:LISTED_FIELDS])) or "no fields"
    more = ", …" if len(columns) > LISTED_FIELDS else ""
    return Broken(f"{where} has no field text, only {listed}{more}", "rename one to text")
