"""Rows of the lake's small tables, each file decoded only once however often it is asked for."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.remembered.memory import recall, remember
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.folder import NO_FOLDER
from gatehouse.warehouse.storage.places import storage_of
from gatehouse.warehouse.tables import damaged, table_of


class Rows:
    """Rows of small tables, known by the hash of their files' bytes.

    Every file is read and hashed each time, so that its rows are as true as those of `read_table`;
    to decode them takes longer, and is done once for the same bytes. In a bucket, a listing's tag
    of a file says as much as its bytes.

    Args:
        known: what an earlier object had as its `known`.
    """

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        self.known = known or {}
        self._asked: set[str] = set()

    def of(self, path: Place, schema: pa.Schema) -> list[dict[str, Any]]:
        """Return the rows of one of the lake's files.

        Raises:
            BrokenLaw: as `read_table`.
        """
        return next(self.of_each([path], schema))

    def found(self, path: Place, schema: pa.Schema) -> list[dict[str, Any]] | None:
        """Return the rows of one of the lake's files, or None where there is no such file.

        Raises:
            BrokenLaw: as `read_table`.
        """
        try:
            return self.of(path, schema)
        except BrokenLaw as error:
            if isinstance(error.__cause__, NO_FOLDER):
                return None
            raise

    def of_each(self, paths: Sequence[Place], schema: pa.Schema) -> Iterator[list[dict[str, Any]]]:
        """Give the rows of each of some of the lake's files, in their order.

        Raises:
            BrokenLaw: as `read_table`.
        """
        if not paths:
            return
        storage = storage_of(paths[0])
        tags = {path: storage.tag(path) for path in paths}
        unread = [path for path in paths if not self._knows(path, tags[path])]
        contents = iter(storage.read_each(unread))
        for path in paths:
            if not self._knows(path, tags[path]):
                try:
                    content = next(contents)
                except OSError as error:
                    raise damaged(path) from error
                self._take(path, content, tags[path] or _digest(content), schema)
            yield self._rows_of(path, schema)

    def _knows(self, path: Place, tag: str | None) -> bool:
        """Return whether a file need not even be read."""
        return tag is not None and self.known.get(str(path), ("", []))[0] == tag

    def _take(self, path: Place, content: bytes, digest: str, schema: pa.Schema) -> None:
        # a file that is right in its own place may be copied into another
        if self.known.get(str(path), ("", []))[0] != digest:
            rows = table_of(content, path, schema).to_pylist()
            self.known[str(path)] = (
                digest,
                [[_plain(value) for value in row.values()] for row in rows],
            )

    def _rows_of(self, path: Place, schema: pa.Schema) -> list[dict[str, Any]]:
        self._asked.add(str(path))
        times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
        return [_row(schema.names, times, row) for row in self.known[str(path)][1]]

    def drop_what_is_gone(self) -> None:
        """Forget files that are no longer there."""
        for name in [each for each in self.known if each not in self._asked]:
            if not os.path.exists(name):
                del self.known[name]


@contextmanager
def remembered_rows(folder: Path) -> Iterator[Rows]:
    """Give rows that a home remembers, and remember those that are read in the block.

    Args:
        folder: the home's `remembered`.
    """
    file = folder / "rows"
    known = recall(file)
    rows = Rows(dict(known))
    try:
        yield rows
    finally:
        rows.drop_what_is_gone()
        if rows.known != known:
            remember(file, rows.known)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _row(names: list[str], times: list[str], values: list[Any]) -> dict[str, Any]:
    row = dict(zip(names, values, strict=True))
    for name in times:
        row[name] = row[name] and datetime.fromisoformat(row[name])
    return row
