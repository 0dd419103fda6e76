"""The files in which a home remembers, and by which laws.

    remembered/verified     what `verify` found right, and the marks of the files that it read
    remembered/rows         the rows of small tables, and the hashes of their files

None of it is the lake's: where it is missing, damaged or of another Gatehouse, all is read again.
"""

import hashlib
import json
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import PACKAGE

SOURCES = (
    "counts.py",
    "events.py",
    "files.py",
    "integrity.py",
    "lake.py",
    "older.py",
    "records.py",
    "replays.py",
    "runs/layout.py",
    "runs/shards.py",
    "storage/addresses.py",
    "storage/bucket.py",
    "storage/file_systems.py",
    "storage/folder.py",
    "storage/listing.py",
    "storage/object_file.py",
    "storage/object_files.py",
    "storage/patience.py",
    "storage/places.py",
    "storage/storage.py",
    "tables.py",
    "remembered/memory.py",
    "remembered/rows.py",
    "remembered/verified.py",
    "upkeep/agreement.py",
    "upkeep/health.py",
    "upkeep/verification.py",
)
"""The modules by whose laws a file of the lake is found right."""


def recall(file: Path) -> dict[str, Any]:
    """Return what was remembered in a file, by the same laws; nothing if that cannot be known."""
    with suppress(OSError, ValueError):
        seal, content = file.read_bytes().split(b"\n", 1)
        if seal == _seal(content):
            found: dict[str, Any] = json.loads(content)
            return found
    return {}


def remember(file: Path, content: dict[str, Any]) -> None:
    """Remember what JSON can say; where that cannot be written, nothing is remembered."""
    text = json.dumps(content, separators=(",", ":")).encode()
    sealed = _seal(text) + b"\n" + text
    with suppress(GatehouseError):
        write_atomically(file, lambda temporary: temporary.write_bytes(sealed))


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(_laws().encode() + content).hexdigest().encode()


@cache
def _laws() -> str:
    """Return a hash of all that decides whether a file is right."""
    hashed = hashlib.sha256(f"duckdb {version('duckdb')}, pyarrow {version('pyarrow')}".encode())
    for name in SOURCES:
        hashed.update((PACKAGE / "warehouse" / name).read_bytes())
    return hashed.hexdigest()
