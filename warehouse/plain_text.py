"""Text for people: one safe line without secrets, and numbers that agree with their nouns."""

import os
import re

STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line ends, direction marks, and bytes that are not text."""

SECRET_NAME = re.compile(r"(TOKEN|KEY|KEY_ID|SECRET|PASSWORD|AUTH_STRING)$", re.IGNORECASE)
"""Names of environment variables whose values are not shown: HF_TOKEN, AWS_ACCESS_KEY_ID, …"""

SECRET = re.compile(
    r"\bhf_[A-Za-z0-9]{30,}|(?<=\bbearer )[^\s\"',;]+|(?<=://)[^\s/@]+:[^\s/@]+(?=@)", re.IGNORECASE
)
"""A token of the hub, a token in a header, a name and password in an address."""

QUOTED_CHARACTERS = 120
SIZES = (("bytes", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9), ("TB", 10**12))
SHORTEST_SECRET = 8
"""Characters: a shorter value would occur in too much other text."""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the singular for one: 1 shard, 2,000 shards."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_bytes(number: float) -> str:
    """Return a number of bytes as people read it: 12.8 MB, 1.2 TB."""
    unit = next((unit for unit in SIZES if number < 1000 * unit[1]), SIZES[-1])
    return f"{number / unit[1]:.3g} {unit[0]}"


def repeated(duplicates: int) -> str:
    """Return what follows a number of samples where some have the text of an earlier one."""
    return f" ({duplicates:,} with the text of an earlier one)" if duplicates else ""


def first_few(names: list[str], most: int) -> str:
    """Return the first names with commas between them, and `…` in the place of more."""
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])


def in_words(names: list[str]) -> str:
    """Return names as a person lists them: a, b and c; nothing for none."""
    *others, last = names or [""]
    return " and ".join(filter(None, [", ".join(others), last]))


def printable(text: str) -> str:
    """Return text with line ends, control characters and direction marks escaped as in Python.

    The result is one line that cannot move the cursor, colour the screen or reverse words.
    """
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def printable_lines(text: str) -> str:
    """Return text as `printable` does, with its line ends: for an answer of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def quoted(words: object) -> str:
    """Return the beginning of the first line of what a library says, without odd characters."""
    first = next(iter(str(words).splitlines()), "")[:QUOTED_CHARACTERS]
    return "".join(char if char.isprintable() else "\ufffd" for char in first)


def without_secrets(text: str) -> str:
    """Return text with `***` for the secrets of this environment and whatever looks like one."""
    secrets = [
        value
        for name, value in os.environ.items()
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    ]
    # the longest first: one may contain another
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, "***")
    return SECRET.sub("***", text)
