"""A lake in a folder of this machine, or of a file system that it has mounted."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from gatehouse.warehouse import files
from gatehouse.warehouse.storage.storage import Entry, Storage, T
from gatehouse.warehouse.writers import locks
from gatehouse.warehouse.writers.temporary import TEMPORARY

NO_FOLDER = (FileNotFoundError, NotADirectoryError)
"""What is raised where there is no such folder."""

SETTLED = 100_000_000
"""Nanoseconds: a file that changed so shortly ago may change again at the same time by its clock,
which goes in steps of up to a hundredth of a second."""


class Folder(Storage[Path]):
    """Files and folders; a killed process leaves neither half a file nor a lock."""

    def read(self, place: Path) -> bytes:
        """As of Storage."""
        return place.read_bytes()

    def read_each(self, places: Iterable[Path]) -> Iterator[bytes]:
        """As of Storage."""
        return map(self.read, places)

    @contextmanager
    def on_disk(self, place: Path) -> Iterator[Path]:
        """As of Storage: the file itself."""
        yield place

    def source(self, place: Path) -> Any:
        """As of Storage."""
        return place

    def size(self, place: Path) -> int | None:
        """As of Storage."""
        return _size(place)

    def sizes(self, folder: Path, names: Iterable[str]) -> dict[str, int | None]:
        """As of Storage."""
        return {name: _size(f"{folder}/{name}") for name in names}

    def is_there(self, place: Path) -> bool:
        """As of Storage."""
        return place.exists()

    def entries(self, folder: Path) -> list[Entry]:
        """As of Storage."""
        with suppress(*NO_FOLDER), os.scandir(folder) as found:
            return [Entry(each.name, each.is_dir()) for each in found]
        return []

    def names(self, folder: Path) -> set[str]:
        """As of Storage."""
        try:
            return set(os.listdir(folder))
        except NO_FOLDER:
            return set()

    def marks(self, place: Path) -> dict[str, list[Any]]:
        """As of Storage."""
        return {str(place): _mark_of(place)}

    def listed_once(self, root: Path) -> AbstractContextManager[bool]:
        """As of Storage: it would save nothing."""
        return nullcontext(False)

    def tag(self, place: Path) -> str | None:
        """As of Storage."""
        return None

    def publish(self, place: Path, write: Callable[[Path], T]) -> T:
        """As of Storage."""
        return files.write_atomically(place, write)

    def move_out(self, place: Path, target: Path) -> None:
        """As of Storage."""
        shutil.move(place, target)

    def remove(self, place: Path) -> None:
        """As of Storage."""
        place.unlink(missing_ok=True)

    def remove_folder(self, place: Path) -> None:
        """As of Storage."""
        files.remove_folder(place)

    def make_folder(self, place: Path) -> None:
        """As of Storage."""
        files.make_folder(place)

    def empty_folder(self, place: Path) -> None:
        """As of Storage."""
        if not place.is_symlink():
            for path in place.iterdir():
                files.remove_folder(path)

    def remove_empty_folder(self, place: Path) -> None:
        """As of Storage."""
        if place.is_symlink():
            place.unlink()
        else:
            place.rmdir()

    def remove_leftovers(self, folder: Path, condition: Callable[[Path], bool]) -> None:
        """As of Storage."""
        for path in filter(condition, folder.glob(TEMPORARY)):
            with suppress(OSError):
                path.unlink()

    def exclusive(self, place: Path, refusal: Callable[[str], str]) -> AbstractContextManager[None]:
        """As of Storage: the kernel drops the lock of a process that ends."""
        return locks.exclusive(place, refusal)

    def shared(self, place: Path, refusal: Callable[[str], str]) -> AbstractContextManager[None]:
        """As of Storage."""
        return locks.shared(place, refusal)

    def in_turn(self, place: Path, alone: Path) -> AbstractContextManager[None]:
        """As of Storage: taking one more costs nothing."""
        return locks.exclusive_after_waiting(place, lambda other: None)

    def has_been_locked(self, place: Path) -> bool:
        """As of Storage."""
        return locks.has_been_locked(place)

    def holder(self, place: Path) -> str | None:
        """As of Storage."""
        return locks.holder(place)


def _size(path: Path | str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _mark_of(path: Path) -> list[int]:
    now = time.time_ns()
    try:
        found = os.stat(path)
    except OSError:
        return [1]
    # the time of the file's last change cannot be set, unlike that of its content
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    settled = int(changed < now - SETTLED)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, settled]
