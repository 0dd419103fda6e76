"""Places in a bucket: addresses such as s3://bucket/prefix, joined and compared as paths are."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from gatehouse.warehouse.errors import GatehouseError

ADDRESS = re.compile(r"([a-z][a-z0-9]*)://([A-Za-z0-9][A-Za-z0-9._=+-]*(?:/[A-Za-z0-9._=+-]+)*)/?")
"""No characters of patterns, quotes, credentials or queries: what it names is what is read."""

FOLDERS = ("file", "local")
"""What fsspec calls folders of this machine."""


class ObjectPath:
    """A place in a bucket, of an object or of all those whose names begin with it and a slash.

    It names, and does nothing: `storage_of` it does.

    Args:
        address: without a slash at its end.
    """

    __slots__ = ("_address",)

    def __init__(self, address: str) -> None:
        self._address = address

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"ObjectPath({self._address!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and other._address == self._address

    def __lt__(self, other: "ObjectPath") -> bool:
        return self._address < other._address

    def __hash__(self) -> int:
        return hash(self._address)

    def __truediv__(self, name: str) -> "ObjectPath":
        return self.joinpath(name)

    def joinpath(self, *names: str) -> "ObjectPath":
        """Return the place below this one."""
        return ObjectPath("/".join([self._address, *names]))

    @property
    def protocol(self) -> str:
        """What stands before `://`."""
        return self._address.partition("://")[0]

    @property
    def key(self) -> str:
        """What fsspec calls the place: the bucket and the object's name."""
        return self._address.partition("://")[2]

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.key.partition("/")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self._address.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return Path(self.name).stem

    @property
    def parent(self) -> "ObjectPath":
        """The place above."""
        return ObjectPath(self._address.rpartition("/")[0])

    def match(self, pattern: str) -> bool:
        """Return whether the last part has a pattern."""
        return fnmatchcase(self.name, pattern)

    def relative_to(self, other: "ObjectPath") -> Path:
        """Return the parts below a place above.

        Raises:
            ValueError: it is not above.
        """
        return Path(self._address).relative_to(other._address)


Place: TypeAlias = Path | ObjectPath
"""A file or folder of a lake."""


def is_address(text: str) -> bool:
    """Return whether a text is meant as an address, not as a folder."""
    return "://" in text


def was_address(path: Path) -> bool:
    """Return whether a path is what an address becomes as one: of two slashes it keeps one."""
    return bool(re.match(r"[a-z][a-z0-9+.-]+:/", str(path)))


def checked_address(text: str) -> ObjectPath:
    """Return the place that an address names.

    Raises:
        GatehouseError: it is none that a lake can have, and why.
    """
    found = ADDRESS.fullmatch(text)
    if found and found[1] in FOLDERS:
        raise GatehouseError(f"{text} is a folder of this machine: name its home with --home")
    if "@" in text or "?" in text:
        # not quoted: it may hold a password
        raise GatehouseError(
            "an address of a lake holds no credentials and no options: put them into the "
            "environment, as docs/environment.md says"
        )
    if not found or "/" not in found[2] or {".", ".."} & set(found[2].split("/")):
        raise GatehouseError(
            f"{text!r} cannot be the address of a lake: write it as s3://bucket/prefix, of "
            "letters, digits and . _ = + -"
        )
    return ObjectPath(f"{found[1]}://{found[2]}")


def place_of(text: str) -> Place:
    """Return the folder or the address that a text names.

    Raises:
        GatehouseError: it is an address that no lake can have.
    """
    return checked_address(text) if is_address(text) else Path(text)
