"""What takes long to make and is the same for every home: kept in a folder of the user's cache."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically

KEPT = 8
"""Entries of a kind, some 2 MB each; the oldest give way."""


def read(kind: str, name: str) -> bytes | None:
    """Return what is kept under a name; None if it is missing, damaged or unreadable.

    Args:
        kind: what it is; each kind has a folder of its own.
        name: what it was made from, as a file name: other sources have another name.
    """
    try:
        file = _file(kind, name).read_bytes()
    except OSError:
        return None
    seal, content = file[:32], file[32:]
    return content if seal == hashlib.sha256(content).digest() else None


def write(kind: str, name: str, content: bytes) -> None:
    """Keep the content under a name; where that cannot be written, nothing is kept."""
    file = _file(kind, name)
    sealed = hashlib.sha256(content).digest() + content
    with suppress(GatehouseError, OSError):
        write_atomically(file, lambda temporary: temporary.write_bytes(sealed))
        others = [path for path in file.parent.iterdir() if not path.name.startswith(".")]
        for old in sorted(others, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink()


def _file(kind: str, name: str) -> Path:
    folder = os.environ.get("GATEHOUSE_CACHE") or user_cache_path("gatehouse")
    return Path(folder) / kind / name
