"""Which fields of a row count: a dotted name is looked up, and what it holds becomes text."""

import json
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

TEXT = "text"
CHATS = ("messages", "conversations", "conversation")
"""Fields that hold a chat, where a row has no field `text`."""
SAID = ("content", "value", "text")
"""Fields of a chat's turn that hold what was said, in the forms of OpenAI and of ShareGPT."""
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
    which the text is a part of.
    """

    text: str | None = None
    domain: str | None = None
    document: str | None = None

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


def joined_chat(turns: Any) -> str | None:
    """Return what is said in a chat, a blank line between turns; None for what is no chat.

    A chat is a list of turns, or each field of the turns as a list. The names of those who speak
    are left out: nobody wrote them. Of a turn with several parts the parts of text are taken; a
    turn without text, such as the call of a tool, says nothing.
    """
    if (
        turns
        and isinstance(turns, Mapping)
        and all(isinstance(each, list) for each in turns.values())
    ):
        turns = [
            dict(zip(turns, each, strict=False)) for each in zip(*turns.values(), strict=False)
        ]
    if not isinstance(turns, list):
        return None
    said = []
    for turn in turns:
        held = [turn[field] for field in SAID if field in turn] if isinstance(turn, Mapping) else []
        if not held:
            return None
        text = _said(held[0])
        if text is None:
            return None
        if text:
            said.append(text)
    return "\n\n".join(said)


def chat_in_text(text: str) -> str | None:
    """Return what is said in a chat that is kept as JSON; None for any other text."""
    turns = None
    if text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            turns = json.loads(text)
    return joined_chat(turns)


def _said(content: Any) -> str | None:
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None
