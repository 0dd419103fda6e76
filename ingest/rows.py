"""From a row of any corpus to its document: which fields count, what cannot be read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gatehouse.ingest.chats import chat_in, chat_in_text
from gatehouse.ingest.fields import (
    ABSENT,
    CHATS,
    DOMAINS,
    NAMES,
    Fields,
    domain_in,
    found,
    text_field,
)
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import first_few

LISTED_FIELDS = 20
IS_CHAT = "is_chat"
REMEDIES = {
    "--text-field": "name the field of the text with --text-field",
    "--domain-field": "name a field of strings with --domain-field, or leave it out",
    "--document-field": "name a field of strings with --document-field, or leave it out",
}
"""The way out of a row that does not have what an option asks for."""


class Document(NamedTuple):
    """One text of a corpus as it was found there; it may be empty.

    `document` names the whole that the text is a part of, None where it is one by itself. The text
    of a chat is a JSON list of its turns, each with role and content.
    """

    name: str
    domain: str
    text: str
    document: str | None = None
    is_chat: bool = False


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


class NoSuchColumn(GatehouseError):
    """A table without a column that is needed.

    Args:
        what: the table, and the columns that it has.
        remedy: the way out.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}: {remedy}")
        self.broken = Broken(what, remedy)


class _Unreadable(Exception):
    """A field that does not hold what it must: what is wrong with it, and the way out."""


def document_of(
    row: Mapping[str, Any], where: str, name: str, domain: str, fields: Fields
) -> Document | Broken:
    """Read a row's text or chat, and its domain, `id` (or `name`) and document where it has them.

    Args:
        row: one record; a null text counts as an empty one.
        where: file and line, or dataset and row, as a message names it.
        name: the document's name where the row gives none.
        domain: its domain where the row gives none.
        fields: those that were asked for; a text whose document is null or empty is one by itself.

    Returns:
        The document, or what is broken: a field that is asked for is not there, or it does not
            hold a string.
    """
    try:
        part_of = _label(row, "--document-field", fields.document)
        within = _label(row, "--domain-field", fields.domain)
        text, is_chat = _text(row, fields)
        return Document(
            name=str(next((row[f] for f in NAMES if row.get(f) not in (None, "")), name)),
            domain=within or (domain_in(row) if fields.domain is None else None) or domain,
            text=text,
            document=part_of,
            is_chat=is_chat,
        )
    except _Unreadable as reason:
        what, remedy = reason.args
        return Broken(f"{where} {what}", remedy)


def _text(row: Mapping[str, Any], fields: Fields) -> tuple[str, bool]:
    """Return a row's text, and whether it is the turns of a chat."""
    field = text_field(row, fields)
    value = found(row, field)
    if value is ABSENT:
        raise _Unreadable(_without(field, list(row)), REMEDIES["--text-field"])
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise _Unreadable(
                f"has bytes in the field {field} that are not UTF-8", "write it as text in UTF-8"
            ) from None
    # samples that were written as a file of a split say which are chats
    in_chats = isinstance(value, str) and (field in CHATS or row.get(IS_CHAT) is True)
    chat = chat_in_text(value) if in_chats else chat_in(value)
    if chat is not None:
        if chat.turns and chat.said.strip() and not fields.chat_as_text:
            return chat.turns, True
        return chat.said, False
    if value is None or isinstance(value, str):
        return value or "", False
    kind = type(value).__name__
    raise _Unreadable(f"has a field {field} of type {kind}", "it must hold a string or a chat")


def _label(row: Mapping[str, Any], option: str, field: str | None) -> str | None:
    value = None if field is None else found(row, field)
    if value is ABSENT:
        raise _Unreadable(_without(str(field), list(row)), REMEDIES[option])
    if value is not None and not isinstance(value, str | int | float):
        raise _Unreadable(f"has a field {field} of type {type(value).__name__}", REMEDIES[option])
    return None if value in (None, "") else str(value)


def known_columns(where: str, columns: list[str], fields: Fields) -> list[str]:
    """Return those of a table's columns that `document_of` reads.

    Raises:
        NoSuchColumn: the text, or a field that was asked for, is not among them, or more than
            once; the message names the columns that there are.
    """
    needed = []
    for option, field in ({"--text-field": text_field(columns, fields)} | fields.asked).items():
        beginnings = [
            field[:end] for end in range(len(field), 0, -1) if field[end:][:1] in ("", ".")
        ]
        column = next((each for each in beginnings if each in columns), None)
        if column is None:
            # no row of such a table can be read: it is the wrong dataset, not one with a broken row
            raise NoSuchColumn(f"{where} {_without(field, columns)}", REMEDIES[option])
        if columns.count(column) > 1:
            raise NoSuchColumn(
                f"{where} has the field {column} {columns.count(column)} times",
                "give each column a name of its own",
            )
        needed.append(column)
    known = () if fields.domain else (field.partition(".")[0] for field in DOMAINS)
    optional = (name for name in (*known, *NAMES, IS_CHAT) if columns.count(name) == 1)
    return list(dict.fromkeys([*needed, *optional]))


def _without(field: str, columns: list[str]) -> str:
    listed = first_few(list(map(repr, columns)), LISTED_FIELDS) or "no fields"
    return f"has no field {field}, only {listed}"
