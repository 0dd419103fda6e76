"""A bucket's files as DuckDB reads them: listed once a pattern, and never written."""

import re
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from fsspec import AbstractFileSystem

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.storage import patience
from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.faults import faults_of
from gatehouse.warehouse.storage.object_file import Contents, ObjectFile

PATTERN = re.compile(r"[*?[]")


class ObjectFiles(AbstractFileSystem):
    """What DuckDB asks of a file system.

    It asks several times what a file is, after it asked for its name: the answer for a pattern is
    kept until the next one.

    Args:
        files: the bucket, as fsspec has it.
        root: the lake.
        confined: whether only the lake can be read.
        snapshot: whether the lake is taken to stay as it is when it is first listed.
    """

    cachable = False

    def __init__(
        self, files: Any, root: ObjectPath, *, confined: bool, snapshot: bool = False
    ) -> None:
        super().__init__(skip_instance_cache=True, use_listings_cache=False)
        self.protocol = root.protocol
        self._files = files
        self._root = root
        self._confined = confined
        self._snapshot = snapshot
        self._known: dict[str, dict[str, Any]] = {}
        self._folders: dict[str, dict[str, Any]] = {}
        self._contents = Contents()

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the files that have a pattern."""
        place = self._place(path)
        literal = PATTERN.split(place.key)[0]
        if literal == place.key:
            found = self._known.get(place.key) if self._snapshot else None
            found = found or self._asked(place)
            listed = {place.key: found} if found and found["type"] == "file" else {}
        else:
            listed = self._listed(place, literal.rpartition("/")[0])
        kept = {key: info for key, info in listed.items() if _matches(key, place.key)}
        self._known |= kept
        return sorted(kept)

    def _listed(self, place: ObjectPath, folder: str) -> dict[str, Any]:
        found = self._folders.get(folder)
        if found is None:
            found = patience.listed(self._files, place, "find", folder)
            if self._snapshot:
                self._folders[folder] = found
        return found

    def _asked(self, place: ObjectPath) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = patience.asked(self._files, place, "info", place.key)
            return found
        except FileNotFoundError:
            return None

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what a file is, as the last pattern that it had saw it."""
        place = self._place(path)
        found = self._known.get(place.key) or self._asked(place)
        if found is None:
            raise FileNotFoundError(str(place))
        return found

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether there is such a file."""
        place = self._place(path)
        return place.key in self._known or self._asked(place) is not None

    def modified(self, path: str) -> datetime:
        """Return when a file was written."""
        found = self.info(path)
        for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
            if isinstance(found.get(name), datetime):
                return found[name]
        place = self._place(path)
        with faults_of(place):
            return self._files.modified(place.key)

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        """Open a file to read it.

        Raises:
            GatehouseError: it is opened to be written.
        """
        if mode != "rb":
            raise GatehouseError(
                f"{path} lies in a bucket, which SQL only reads: name a file of this machine"
            )
        found, place = self.info(path), self._place(path)
        tag = found.get("ETag") or found.get("etag")
        return ObjectFile(self._files, place, found["size"], tag, self._contents)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return what lies below a place."""
        place = self._place(path)
        with faults_of(place):
            found: list[Any] = self._files.ls(place.key, detail=detail)
            return found

    def mkdir(self, path: str, *_: Any, **__: Any) -> None:
        """Refuse: DuckDB asks for it to write."""
        self.open(path, "wb")

    def _rm(self, path: str) -> None:
        self.open(path, "wb")

    rm_file = _rm

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Refuse: DuckDB asks for it to write."""
        self.open(path2, "wb")

    def _place(self, path: str) -> ObjectPath:
        key = path.partition("://")[2] if "://" in path else path
        place = ObjectPath(f"{self._root.protocol}://{key.rstrip('/')}")
        within = f"{place.key}/".startswith(f"{self._root.key}/")
        if {".", ".."} & set(key.split("/")) or (self._confined and not within):
            raise GatehouseError(f"{path} is not in the lake {self._root}: name a file there")
        return place


def _matches(key: str, pattern: str) -> bool:
    """Return whether each part of a name has the pattern's part; none goes beyond a slash."""
    names, patterns = key.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))
