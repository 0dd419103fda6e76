"""From a row of any corpus to its document: which fields count, what cannot be read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gatehouse.warehouse.errors import GatehouseError

TEXT = "text"
DOMAIN = "domain"
NAMES = ("id", "name")
"""Fields that name a document; the first one present wins."""

LISTED_FIELDS = 20
OTHER_FIELD = "name a field of strings with --document-field, or leave it out"
"""The way out of a row that does not say which document it belongs to."""


class Document(NamedTuple):
    """One text of a corpus as it was found there; it may be empty.

    `document` names the whole that the text is a part of, None where it is one by itself.
    """

    name: str
    domain: str
    text: str
    document: str | None = None


class Broken(NamedTuple):
    """One line or row of a corpus that cannot be read as a document.

    `what` names its place and what is wrong there, `remedy` is the way out. It may be a whole file.
    """

    what: str
    remedy: str

    @property
    def error(self) -> GatehouseError:
        """The error that refuses a corpus with such a line."""
        return GatehouseError(
            f"{self.what}: {self.remedy}, or leave broken texts out with --skip-broken"
        )


def document_of(
    row: Mapping[str, Any], where: str, name: str, domain: str, document_field: str | None
) -> Document | Broken:
    """Read `text`, and `domain` and `id` (or `name`) where the row has them.

    Args:
        row: one record; a null text counts as an empty one.
        where: file and line, or dataset and row, as a message names it.
        name: the document's name where the row gives none.
        domain: its domain where the row gives none.
        document_field: the field that names the document which the text is a part of; one that is
            null or empty there is a document by itself.

    Returns:
        The document, or what is broken: no field `text`, or one that is not a string; no such
            `document_field`, or one that is neither a string nor a number.
    """
    if TEXT not in row:
        return _without(TEXT, "rename one to text", where, list(row))
    text = row[TEXT]
    if text is not None and not isinstance(text, str):
        kind = type(text).__name__
        return Broken(f"{where} has a field text of type {kind}", "it must hold a string")
    part_of = row.get(document_field) if document_field else None
    if document_field and document_field not in row:
        return _without(document_field, OTHER_FIELD, where, list(row))
    if part_of is not None and not isinstance(part_of, str | int | float):
        kind = type(part_of).__name__
        return Broken(f"{where} has a field {document_field} of type {kind}", OTHER_FIELD)
    return Document(
        name=str(_first(row, NAMES, name)),
        domain=str(_first(row, (DOMAIN,), domain)),
        text=text or "",
        document=None if part_of in (None, "") else str(part_of),
    )


def _first(row: Mapping[str, Any], fields: tuple[str, ...], default: str) -> Any:
    return next((row[field] for field in fields if row.get(field) not in (None, "")), default)


def known_columns(where: str, columns: list[str], document_field: str | None) -> list[str]:
    """Return those of a table's columns that `document_of` reads.

    Raises:
        GatehouseError: `text` or `document_field` is not among them; the message names the columns
            that there are.
    """
    needed = {TEXT: "rename one to text"}
    if document_field is not None:
        needed[document_field] = OTHER_FIELD
    for field, remedy in needed.items():
        if field not in columns:
            broken = _without(field, remedy, where, columns)
            # no row of such a table can be read: it is the wrong dataset, not one with a broken row
            raise GatehouseError(f"{broken.what}: {broken.remedy}")
    return [*needed, *(name for name in (DOMAIN, *NAMES) if name in columns and name not in needed)]


def _without(field: str, remedy: str, where: str, columns: list[str]) -> Broken:
    listed = ", ".join(map(repr, columns[:LISTED_FIELDS])) or "no fields"
    more = ", …" if len(columns) > LISTED_FIELDS else ""
    return Broken(f"{where} has no field {field}, only {listed}{more}", remedy)
