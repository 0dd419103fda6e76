"""Which fields of a row count: a dotted name is looked up, and what it holds becomes text."""

import json
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

TEXT = "text"
CHATS = ("messages", "conversations", "conversation")
"""Fields that hold a chat, where a row has no field `text`."""
DOMAINS = (
    "domain",
    "meta.pile_set_name",
    "meta.redpajama_set_name",
    "meta.source",
    "red_pajama_subset",
    "metadata.pile_set_name",
    "metadata.domain",
    "metadata.source",
    "source",
)
"""Fields that name a text's domain: the Pile's, SlimPajama's, RedPajama's, Dolma's."""
HOLDERS = {field: field.partition(".")[0] for field in DOMAINS}
LONGEST_DOMAIN = 64
NAMES = ("id", "name")
"""Fields that name a document; the first one present wins."""

ABSENT = object()
"""What `found` returns where a row has no such field."""


@dataclass(frozen=True)
class Fields:
    """The fields that were asked for, each by its name or a dotted path; None where none was.

    `text` holds the text or a chat, `domain` names the text's domain, `document` the document
    which the text is a part of. `chat_as_text` takes what is said in a chat as a plain text.
    """

    text: str | None = None
    domain: str | None = None
    document: str | None = None
    chat_as_text: bool = False

    @property
    def asked(self) -> dict[str, str]:
        """Return option -> field of those that were asked for."""
        named = {
            "--text-field": self.text,
            "--domain-field": self.domain,
            "--document-field": self.document,
        }
        return {option: field for option, field in named.items() if field is not None}


def text_field(names: Container[str], fields: Fields) -> str:
    """Return the field of the text: the one asked for, else the first known one among the names."""
    return fields.text or next((each for each in (TEXT, *CHATS) if each in names), TEXT)


def found(row: Mapping[str, Any], path: str) -> Any:
    """Return what a row has under a name or a dotted path, ABSENT where it has no such field.

    A name that holds a dot goes before a path. Text that is a JSON object is looked into, because
    tables hold nested fields so; what is null holds nothing, and so null.
    """
    if path in row:
        return row[path]
    start = path
    while "." in start:
        start = start.rpartition(".")[0]
        if start in row:
            return _within(row[start], path[len(start) + 1 :])
    return ABSENT


def _within(value: Any, path: str) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, list) and all(isinstance(each, tuple) for each in value):
        value = dict(value)  # a map of Arrow's
    if isinstance(value, Mapping):
        return found(value, path)
    return None if value is None else ABSENT


def domain_in(row: Mapping[str, Any]) -> str | None:
    """Return the domain that a row names in one of the known fields, None where it names none.

    But for `domain` itself, an address, a path or a long text is no domain.
    """
    for field, holder in HOLDERS.items():
        if holder not in row and field not in row:
            continue
        value = found(row, field)
        if value in (None, "") or value is ABSENT or isinstance(value, Mapping | list):
            continue
        name = str(value)
        if field == "domain" or (isinstance(value, str) and _is_label(name)):
            return name
    return None


def _is_label(name: str) -> bool:
    return len(name) <= LONGEST_DOMAIN and name.isprintable() and not set(name) & set("/\\?")
