"""The lake's Parquet files: sealed when they are written, and checked when they are read."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.warehouse.errors import ANOTHER_HOME, BrokenLaw
from gatehouse.warehouse.older import completed, is_readable
from gatehouse.warehouse.records import LAKE_VERSION, READABLE_VERSIONS
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of

SEAL, PLACE = b"gatehouse_file_sha256", b"gatehouse_place"
"""Keys of a small table's own hash, and of its place: page checksums do not cover a Parquet file's
footer, and a whole file can be that of another run."""

ROWS_SEAL = b"gatehouse_rows_sha256"
"""Key that earlier tables have instead: a hash of their rows."""

UNSEALED = b"the hash of this file, with these words in its place".ljust(64)


@dataclass(frozen=True)
class Content:
    """How many bytes a file has, and their SHA-256 in hexadecimal digits."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Place) -> "Content":
        """Return what a file holds now."""
        with storage_of(path).on_disk(path) as here, open(here, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(file.tell(), digest)


def write_table(path: Place, table: pa.Table) -> Content:
    """Write a small table, sealed with the hash of its file, and with its place in the lake."""
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer, table.schema, compression="zstd", write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({PLACE: _place(path), SEAL: UNSEALED})
    before, after = buffer.getvalue().to_pybytes().rsplit(UNSEALED, 1)
    content = before + _hash_of(before, after) + after
    storage_of(path).publish(path, lambda temporary: temporary.write_bytes(content))
    return Content(len(content), hashlib.sha256(content).hexdigest())


def _place(path: Place) -> bytes:
    # a shard's samples may be linked into another run, whose record of the shard tells their hash
    linked = path.parent.parent.name == "samples"
    own = "" if linked else f"{path.parent.name}/{path.name}"
    return own.encode()


def _hash_of(before: bytes, after: bytes) -> bytes:
    return hashlib.sha256(before + UNSEALED + after).hexdigest().encode()


def read_table(path: Place, schema: pa.Schema) -> pa.Table:
    """Read one of the lake's small tables, and check that its bytes and place are as written.

    Args:
        path: a file in the lake.
        schema: the one that the table has; what files of earlier versions lack is filled in.

    Raises:
        BrokenLaw: the file is missing, damaged, of another place, or has another schema.
    """
    try:
        # what is read is what was checked: a writer may put another file in place meanwhile
        content = storage_of(path).read(path)
    except OSError as error:
        raise damaged(path) from error
    return table_of(content, path, schema)


def table_of(content: bytes, path: Place, schema: pa.Schema) -> pa.Table:
    """Return the table whose file holds `content`, checked as `read_table` does.

    Raises:
        BrokenLaw: as `read_table`.
    """
    # not `pq.read_table`, which takes longer to open a small file than this takes to read it
    with _opened(pa.BufferReader(content), path, schema) as file:
        # threads take longer to start than a small table takes to read
        found, keys = file.read(use_threads=False), file.metadata.metadata or {}
        if not _is_sealed(content, keys, found):
            raise damaged(path)
    _check_place(path, keys)
    return completed(found, schema)


def check_table(path: Place) -> None:
    """Check what `read_table` checks of a sealed file, and read no rows.

    Raises:
        BrokenLaw: the file is missing, damaged, or of another place.
    """
    try:
        content = storage_of(path).read(path)
        keys = pq.read_metadata(pa.BufferReader(content)).metadata or {}
        # the rows of a table of an earlier Gatehouse take long to hash: `verify` does
        if SEAL in keys and not _is_as_written(content, keys[SEAL]):
            raise damaged(path)
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise damaged(path) from error
    _check_place(path, keys)


def _is_as_written(content: bytes, seal: bytes) -> bool:
    return seal == _hash_of(*content.rsplit(seal, 1))


def _check_place(path: Place, keys: dict[bytes, bytes]) -> None:
    place = keys.get(PLACE, b"")
    if place not in (b"", _place(path)):
        raise BrokenLaw(f"is that of {place.decode()}: {_way_out_of(path)}", path)


def _is_sealed(content: bytes, keys: dict[bytes, bytes], found: pa.Table) -> bool:
    if SEAL in keys:
        return _is_as_written(content, keys[SEAL])
    rows = json.dumps([found.column_names, found.to_pylist()], default=str)
    return keys.get(ROWS_SEAL) == hashlib.sha256(rows.encode()).hexdigest().encode()


@contextmanager
def open_table(path: Place, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """Open one of the lake's files; reading from it checks its pages' checksums.

    Raises:
        BrokenLaw: the file is missing, damaged, or has another schema; also where that shows only
            while it is being read.
    """
    try:
        source = storage_of(path).source(path)
    except OSError as error:
        raise damaged(path) from error
    with _opened(source, path, schema) as file:
        yield file


@contextmanager
def _opened(source: Any, path: Place, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            if not is_readable(file.schema_arrow, schema):
                raise BrokenLaw(
                    "does not have the columns that this Gatehouse reads: it is not of lake "
                    f"version {READABLE_VERSIONS[0]} to {LAKE_VERSION}; {ANOTHER_HOME}",
                    path,
                )
            yield file
    # a damaged footer can make Arrow raise any of these
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise damaged(path) from error


def damaged(path: Place) -> BrokenLaw:
    """Return the error that says that one of the lake's files is damaged or missing."""
    return BrokenLaw(f"is damaged or missing: {_way_out_of(path)}", path)


def _way_out_of(path: Place) -> str:
    run_id = path.parent.name.removeprefix("run_id=")
    if path.name == "runs.parquet":
        return (
            "run the same `gatehouse capture` again, which writes it anew, or remove the run with "
            f"`gatehouse runs rm {run_id}`"
        )
    return f"`gatehouse verify {run_id} --repair` mends it"


def sha256_of(path: Place) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    return Content.of(path).sha256
