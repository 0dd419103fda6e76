"""Who may write: locks that end with their process, however it ends.

    RUN.lock                            one process alone
    RUN.HOST-PROCESS-RANDOM.sharer      one of several that share the lock, each with its own file

Each file is locked by the process that it names. Who wants the lock alone takes RUN.lock, and then
looks for sharers; a sharer takes its own file, and then looks for RUN.lock: of two that begin at
once, at least one sees the other. A sharer then steps back, so that not both are refused.
"""

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import BinaryIO

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import cannot_write, make_folder
from gatehouse.warehouse.plain_text import in_words
from gatehouse.warehouse.writers.temporary import writer_name

SECONDS_OF_A_LOOK = 1.0
"""`holder` takes a lock for a moment, so a process that wants it keeps trying for this long."""

SECONDS_BETWEEN_TRIES = 0.05

SHARER = ".sharer"


@contextmanager
def exclusive(path: Path, refusal: Callable[[str], str]) -> Iterator[None]:
    """Hold the lock in the file at `path`, or refuse because another process does.

    The file names this process while the block runs. The kernel drops the lock when the process
    ends, so a killed process leaves a file but no lock.

    Args:
        path: the lock's file.
        refusal: what to say, given who holds the lock.

    Raises:
        GatehouseError: another process holds it, others share it, or the file cannot be written.
    """
    until = time.monotonic() + SECONDS_OF_A_LOOK

    def take(file: BinaryIO) -> None:
        if not _taken(file, until):
            raise GatehouseError(refusal(_named(path)))

    with _held(path, take):
        while others := _sharers(path):
            if time.monotonic() >= until:
                raise GatehouseError(refusal(in_words(others)))
            time.sleep(SECONDS_BETWEEN_TRIES)
        yield


@contextmanager
def shared(path: Path, refusal: Callable[[str], str]) -> Iterator[None]:
    """Hold the lock in the file at `path` together with others, or refuse: one holds it alone.

    Args:
        path: the lock's file, as `exclusive` has it.
        refusal: what to say, given who holds the lock.

    Raises:
        GatehouseError: another process holds it alone, or the folder cannot be written.
    """
    until = time.monotonic() + 2 * SECONDS_OF_A_LOOK
    while True:
        own = path.with_name(f"{path.stem}.{writer_name()}{SHARER}")
        with _held(own, lambda file: fcntl.flock(file, fcntl.LOCK_EX)):
            alone = _holder_of(path)
            if alone is None:
                yield
                return
        if time.monotonic() >= until:
            raise GatehouseError(refusal(alone))
        time.sleep(SECONDS_BETWEEN_TRIES)


@contextmanager
def exclusive_after_waiting(path: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock in the file at `path`, after its present holder; Ctrl-C ends the wait.

    Args:
        path: the lock's file.
        waiting: called with the lock's holder before this process waits.

    Raises:
        GatehouseError: the file cannot be written.
    """

    def take(file: BinaryIO) -> None:
        if not _taken(file, time.monotonic()):
            waiting(_named(path))
            fcntl.flock(file, fcntl.LOCK_EX)

    with _held(path, take):
        yield


def holder(path: Path) -> str | None:
    """Return who holds the lock, all of those who share it, or None if nobody does."""
    return _holder_of(path) or in_words(_sharers(path)) or None


def has_been_locked(path: Path) -> bool:
    """Return whether a process holds the lock, alone or with others, or was killed while it did."""
    return path.exists() or any(_files_of_sharers(path))


def _files_of_sharers(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{escape(path.stem)}.*{SHARER}")


def _sharers(path: Path) -> list[str]:
    """Return who shares the lock; what those left that were killed is removed."""
    found = []
    for file in sorted(_files_of_sharers(path)):
        if name := _holder_of(file):
            found.append(name)
        elif not file.exists() or os.access(file, os.R_OK):
            # one that is only about to lock it notices, and makes another
            file.unlink(missing_ok=True)
        else:
            # another user's, which may well be held
            found.append("another process")
    return found


def _holder_of(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(path)
    except OSError:
        return None
    return None


@contextmanager
def _held(path: Path, take: Callable[[BinaryIO], None]) -> Iterator[None]:
    make_folder(path.parent)
    with _locked(path, take) as file:
        # the name only helps people: the lock holds even on a full disk
        with suppress(OSError):
            file.truncate(0)
            name = f"process {os.getpid()} on {socket.gethostname()} since {_now()}"
            file.write(name.encode())
        try:
            yield
        finally:
            # before the lock is dropped: a waiting process then sees no file, and makes another
            with suppress(OSError):
                path.unlink()


def _locked(path: Path, take: Callable[[BinaryIO], None]) -> BinaryIO:
    """Return the file, locked until it is closed."""
    while True:
        try:
            # unbuffered: what a full disk does not take would be written again on closing
            file = open(path, "a+b", buffering=0)  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            take(file)
        except OSError as error:  # of a file system without locks
            file.close()
            raise cannot_write(path, error) from error
        except BaseException:
            file.close()
            raise
        if _is_at(path, file):
            return file
        file.close()


def _taken(file: BinaryIO, until: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(SECONDS_BETWEEN_TRIES)
        else:
            return True


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _named(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
