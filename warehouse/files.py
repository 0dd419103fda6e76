"""Files and folders that appear whole or not at all, and errors that say what cannot be written."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import TypeVar

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.writers.temporary import is_dead, temporary_beside

T = TypeVar("T")


def write_atomically(path: Path, write: Callable[[Path], T]) -> T:
    """Let `write(temporary path)` make the file, flush it to disk, then rename it into place.

    Returns:
        What `write` returned: of another process's file at `path` nothing is known here.

    Raises:
        GatehouseError: the disk is full or not writable; the temporary file is removed.
    """
    temporary = temporary_beside(path)
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
    temporary = temporary_beside(path)
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
        if is_dead(leftover):
            with suppress(OSError):
                _remove_tree(leftover) if leftover.is_dir() else leftover.unlink()


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
