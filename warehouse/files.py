"""Files that appear whole or not at all, and errors that name a file that cannot be read."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from glob import escape
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gatehouse.warehouse.errors import BrokenLaw, GatehouseError
from gatehouse.warehouse.records import EVENTS, LAKE_VERSION

TEMPORARY = ".*.tmp"
"""Names of files that are being written, or whose writer was killed."""

ROW_GROUP_ROWS = 1_000_000
BYTE_STREAM_SPLIT = {"entropy": "BYTE_STREAM_SPLIT", "confidence": "BYTE_STREAM_SPLIT"}
INTEGER_COLUMNS = ["sample_id", "position", "token_id", "layer", "experts.list.element"]

SEAL = b"gatehouse_rows_sha256"
"""Key of a small table's own hash: page checksums do not cover a Parquet file's footer."""


def write_table(path: Path, table: pa.Table) -> None:
    """Write a small table, sealed with the hash of its rows."""
    sealed = table.replace_schema_metadata({SEAL: _hash_of(table)})
    write_atomically(
        path,
        lambda temporary: pq.write_table(
            sealed, temporary, compression="zstd", write_page_checksum=True
        ),
    )


def _hash_of(table: pa.Table) -> bytes:
    rows = json.dumps([table.column_names, table.to_pylist()], default=str)
    return hashlib.sha256(rows.encode()).hexdigest().encode()


def write_events(path: Path, events: pa.Table) -> None:
    """Write events ordered by (layer, sample, position), with a new row group at each new layer."""

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(
            temporary,
            EVENTS,
            compression="zstd",
            use_dictionary=[*INTEGER_COLUMNS, "top_expert"],
            column_encoding=BYTE_STREAM_SPLIT,
            write_page_checksum=True,
        ) as writer:
            start = 0
            runs = pc.run_end_encode(events["layer"].combine_chunks())
            for end in runs.run_ends.to_pylist():
                writer.write_table(events.slice(start, end - start), row_group_size=ROW_GROUP_ROWS)
                start = end

    write_atomically(path, write)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary path)` make the file, flush it to disk, then rename it into place.

    Raises:
        GatehouseError: the disk is full or not writable; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _remove_leftovers(path: Path) -> None:
    """Remove what was left by processes that were killed while they wrote this file."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not _lives(int(process)):
            with suppress(OSError):
                leftover.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        GatehouseError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> GatehouseError:
    """Return the error that says what could not be written, and what to do about that cause."""
    return GatehouseError(
        f"cannot write {path}: {error.strerror or error}; {way_out(error)} or name another folder "
        "with GATEHOUSE_HOME, then run the same command again"
    )


def way_out(error: OSError) -> str:
    """Return what to do about what the system says of a file or folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make it writable"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return "move away what is in its place"
    return "put that right"


def read_table(path: Path, schema: pa.Schema, *, sealed: bool = True) -> pa.Table:
    """Read one of the lake's files, and check its pages' checksums and the seal of its rows.

    Args:
        path: a file in the lake.
        schema: the one that the file must have.
        sealed: False for events, whose SHA-256 is recorded elsewhere.

    Raises:
        BrokenLaw: the file is missing, damaged, or has another schema.
    """
    try:
        # not `pq.read_table`, which takes longer to open a small file than this takes to read it
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            found = file.read()
    # a damaged footer can make Arrow raise any of these
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise _damaged(path) from error
    if not found.schema.equals(schema):
        raise BrokenLaw(
            "does not have the columns that this Gatehouse writes: it is not of lake version "
            f"{LAKE_VERSION}; name another folder with GATEHOUSE_HOME",
            path,
        )
    if sealed and (found.schema.metadata or {}).get(SEAL) != _hash_of(found):
        raise _damaged(path)
    return found


def _damaged(path: Path) -> BrokenLaw:
    return BrokenLaw(
        "is damaged or missing: `gatehouse verify` lists every such file, and "
        "`gatehouse verify --repair` mends what it can",
        path,
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
