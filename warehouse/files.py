"""Files that appear whole or not at all, and errors that name a file that cannot be read."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.warehouse.errors import ANOTHER_HOME, BrokenLaw, GatehouseError
from gatehouse.warehouse.older import completed, is_readable
from gatehouse.warehouse.records import LAKE_VERSION, READABLE_VERSIONS

T = TypeVar("T")

TEMPORARY = ".*.tmp"
"""Names of files that are being written, or whose writer was killed."""

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
    def of(cls, path: Path) -> "Content":
        """Return what a file holds now."""
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(file.tell(), digest)


def write_table(path: Path, table: pa.Table) -> Content:
    """Write a small table, sealed with the hash of its file, and with its place in the lake."""
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer, table.schema, compression="zstd", write_page_checksum=True
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({PLACE: _place(path), SEAL: UNSEALED})
    before, after = buffer.getvalue().to_pybytes().rsplit(UNSEALED, 1)
    content = before + _hash_of(before, after) + after
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return Content(len(content), hashlib.sha256(content).hexdigest())


def _place(path: Path) -> bytes:
    # a shard's samples may be linked into another run, whose record of the shard tells their hash
    linked = path.parent.parent.name == "samples"
    own = "" if linked else f"{path.parent.name}/{path.name}"
    return own.encode()


def _hash_of(before: bytes, after: bytes) -> bytes:
    return hashlib.sha256(before + UNSEALED + after).hexdigest().encode()


def write_atomically(path: Path, write: Callable[[Path], T]) -> T:
    """Let `write(temporary path)` make the file, flush it to disk, then rename it into place.

    Returns:
        What `write` returned: of another process's file at `path` nothing is known here.

    Raises:
        GatehouseError: the disk is full or not writable; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        written = write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return written
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_folder_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary path)` make the folder, then put it in place of what is there.

    Its files are flushed to disk first. Between the old folder and the new one there is none.

    Raises:
        GatehouseError: the disk is full or not writable, or a file is in its place; the temporary
            folder is removed.
    """
    path = Path(os.path.abspath(path))
    if path.exists() and not path.is_dir():
        raise GatehouseError(f"{path} is no folder: name a new or an empty folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        write(temporary)
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb") as written:
                    os.fsync(written.fileno())
        remove_folder(path)
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what was left by processes that were killed while they wrote this file or folder."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not _lives(int(process)):
            with suppress(OSError):
                _remove_tree(leftover) if leftover.is_dir() else leftover.unlink()


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


def remove_folder(path: Path) -> None:
    """Remove a folder with what it holds, a file, or a link and not what it leads to.

    Where nothing is, nothing happens. A folder gets another name first, under which nobody writes
    into it; what was left under that name by a process that was killed goes too. Two processes may
    remove the same one.

    Raises:
        GatehouseError: it cannot be removed.
    """
    aside = path.with_name(f".{path.name}.removed.tmp")
    try:
        _remove_tree(aside)
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        while path.exists():
            try:
                os.rename(path, aside)
            except OSError as error:
                # another process is removing it too
                if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                    raise
            _remove_tree(aside)
    except OSError as error:
        raise cannot_write(path, error) from error


def _remove_tree(folder: Path) -> None:
    """Remove a folder with what it holds, of which another process may take some."""
    while folder.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def cannot_write(path: Path, error: OSError) -> GatehouseError:
    """Return the error that says what could not be written, and what to do about that cause."""
    return GatehouseError(
        f"cannot write {path}: {error.strerror or error}; {way_out(error)} or name another place "
        "for it (--home or GATEHOUSE_HOME names the warehouse's), then run the same command again"
    )


def way_out(error: OSError) -> str:
    """Return what to do about what the system says of a file or folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make it writable"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return "move away what is in its place"
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        return "mount its file system so that files can be locked"
    return "put that right"


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read one of the lake's small tables, and check that its bytes and place are as written.

    Args:
        path: a file in the lake.
        schema: the one that the table has; what files of earlier versions lack is filled in.

    Raises:
        BrokenLaw: the file is missing, damaged, of another place, or has another schema.
    """
    try:
        # what is read is what was checked: a writer may put another file in place meanwhile
        content = path.read_bytes()
    except OSError as error:
        raise damaged(path) from error
    return table_of(content, path, schema)


def table_of(content: bytes, path: Path, schema: pa.Schema) -> pa.Table:
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


def check_table(path: Path) -> None:
    """Check what `read_table` checks of a sealed file, and read no rows.

    Raises:
        BrokenLaw: the file is missing, damaged, or of another place.
    """
    try:
        content = path.read_bytes()
        keys = pq.read_metadata(pa.BufferReader(content)).metadata or {}
        # the rows of a table of an earlier Gatehouse take long to hash: `verify` does
        if SEAL in keys and not _is_as_written(content, keys[SEAL]):
            raise damaged(path)
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise damaged(path) from error
    _check_place(path, keys)


def _is_as_written(content: bytes, seal: bytes) -> bool:
    return seal == _hash_of(*content.rsplit(seal, 1))


def _check_place(path: Path, keys: dict[bytes, bytes]) -> None:
    place = keys.get(PLACE, b"")
    if place not in (b"", _place(path)):
        raise BrokenLaw(f"is that of {place.decode()}: {_way_out_of(path)}", path)


def _is_sealed(content: bytes, keys: dict[bytes, bytes], found: pa.Table) -> bool:
    if SEAL in keys:
        return _is_as_written(content, keys[SEAL])
    rows = json.dumps([found.column_names, found.to_pylist()], default=str)
    return keys.get(ROWS_SEAL) == hashlib.sha256(rows.encode()).hexdigest().encode()


@contextmanager
def open_table(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """Open one of the lake's files; reading from it checks its pages' checksums.

    Raises:
        BrokenLaw: the file is missing, damaged, or has another schema; also where that shows only
            while it is being read.
    """
    with _opened(path, path, schema) as file:
        yield file


@contextmanager
def _opened(source: Any, path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
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


def damaged(path: Path) -> BrokenLaw:
    """Return the error that says that one of the lake's files is damaged or missing."""
    return BrokenLaw(f"is damaged or missing: {_way_out_of(path)}", path)


def _way_out_of(path: Path) -> str:
    run_id = path.parent.name.removeprefix("run_id=")
    if path.name == "runs.parquet":
        return (
            "run the same `gatehouse capture` again, which writes it anew, or remove the run with "
            f"`gatehouse runs rm {run_id}`"
        )
    return f"`gatehouse verify {run_id} --repair` mends it"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    return Content.of(path).sha256
