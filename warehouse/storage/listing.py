"""What lies in a bucket, asked once for many questions."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.faults import faults_of


class Listing:
    """What lies below a place, each of the folders there listed when it is first asked for.

    Args:
        find: gives what lies below a place by its key, as fsspec describes it.
        root: the place.
    """

    def __init__(self, find: Callable[[str], dict[str, dict[str, Any]]], root: ObjectPath) -> None:
        self._find = find
        self._root = root
        self._tables: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        self._guard = threading.Lock()

    def has(self, place: ObjectPath) -> bool:
        """Return whether a place is below one of the folders."""
        return place.key.startswith(f"{self._root.key}/")

    def of(self, folder: ObjectPath) -> list[dict[str, Any]]:
        """Return what lies in a folder, as fsspec lists it."""
        table = folder.key.removeprefix(f"{self._root.key}/").partition("/")[0]
        with self._guard:
            if table not in self._tables:
                self._tables[table] = self._found(self._root / table)
        return list(self._tables[table].get(folder.key, {}).values())

    def _found(self, table: ObjectPath) -> dict[str, dict[str, dict[str, Any]]]:
        """Return folder -> name -> what fsspec says of it, of all below a folder of the root."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        with suppress(FileNotFoundError), faults_of(table):
            for info in self._find(table.key).values():
                key = str(info["name"]).lstrip("/")
                while key != table.key:
                    folder, _, name = key.rpartition("/")
                    found.setdefault(folder, {})[name] = info
                    key, info = folder, {"name": folder, "type": "directory"}
        return found


def name_of(found: dict[str, Any]) -> str:
    """Return the last part of the name of what fsspec describes."""
    return str(found["name"]).rstrip("/").rpartition("/")[2]


def is_file(found: dict[str, Any]) -> bool:
    """Return whether it is an object, and none that a console made for a folder."""
    return found["type"] == "file" and not str(found["name"]).endswith("/")


def marks_of(found: dict[str, Any]) -> list[Any]:
    """Return what `Storage.marks` has of it."""
    tag = found.get("ETag") or found.get("etag") or found.get("generation")
    return [found["size"], tag, 1] if tag else [0]
