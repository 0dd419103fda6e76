"""Rows of the lake's small tables, each file decoded only once however often it is asked for."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from gatehouse.warehouse.files import damaged, table_of
from gatehouse.warehouse.remembered.memory import recall, remember


class Rows:
    """Rows of small tables, known by the hash of their files' bytes.

    Every file is read and hashed each time, so that its rows are as true as those of `read_table`;
    to decode them takes longer, and is done once for the same bytes.

    Args:
        known: what an earlier object had as its `known`.
    """

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        self.known = known or {}
        self._asked: set[str] = set()

    def of(self, path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
        """Return the rows of one of the lake's files.

        Raises:
            BrokenLaw: as `read_table`.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise damaged(path) from error
        # a file that is right in its own place may be copied into another
        name, digest = str(path), hashlib.sha256(content).hexdigest()
        self._asked.add(name)
        found, values = self.known.get(name, ("", []))
        if found != digest:
            rows = table_of(content, path, schema).to_pylist()
            values = [[_plain(value) for value in row.values()] for row in rows]
            self.known[name] = digest, values
        times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
        return [_row(schema.names, times, row) for row in values]

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


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _row(names: list[str], times: list[str], values: list[Any]) -> dict[str, Any]:
    row = dict(zip(names, values, strict=True))
    for name in times:
        row[name] = row[name] and datetime.fromisoformat(row[name])
    return row
