"""What a lake asks of the place where it lies."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from gatehouse.warehouse.storage.addresses import ObjectPath

P = TypeVar("P", Path, ObjectPath)
T = TypeVar("T")


class Entry(NamedTuple):
    """What lies in a folder: its name, and whether it is a folder itself."""

    name: str
    is_folder: bool


class Storage(ABC, Generic[P]):
    """Files that appear whole or not at all, and locks; places that lack a folder have none in it.

    Reading raises an OSError for what is not there or cannot be read, and a GatehouseError where
    a bucket cannot be asked. Writing raises a GatehouseError that names the way out.
    """

    @abstractmethod
    def read(self, place: P) -> bytes:
        """Return a file's content."""

    @abstractmethod
    def on_disk(self, place: P) -> AbstractContextManager[Path]:
        """Give a file of this machine that has the content of one, as it is now, in a block."""

    @abstractmethod
    def source(self, place: P) -> Any:
        """Return what pyarrow opens, to read parts of a file."""

    @abstractmethod
    def size(self, place: P) -> int | None:
        """Return a file's size in bytes; None if it is not there."""

    @abstractmethod
    def sizes(self, folder: P, names: Iterable[str]) -> dict[str, int | None]:
        """Return the size of each of some files of a folder, as `size` does."""

    @abstractmethod
    def is_there(self, place: P) -> bool:
        """Return whether a file or a folder is there."""

    @abstractmethod
    def entries(self, folder: P) -> list[Entry]:
        """Return what lies in a folder, in no order."""

    @abstractmethod
    def names(self, folder: P) -> set[str]:
        """Return the names of what lies in a folder."""

    @abstractmethod
    def marks(self, place: P) -> dict[str, list[Any]]:
        """Return the marks of a file, by its address, and of others that came with them.

        Marks differ once the file was written again; the last of them is 0 where that cannot be
        relied on.
        """

    @abstractmethod
    def publish(self, place: P, write: Callable[[Path], T]) -> T:
        """Let `write(temporary path)` make a file, put it in place whole, and return its answer."""

    @abstractmethod
    def remove(self, place: P) -> None:
        """Remove a file, or nothing."""

    @abstractmethod
    def remove_folder(self, place: P) -> None:
        """Remove a folder with what it holds, or nothing."""

    @abstractmethod
    def exclusive(self, place: P, refusal: Callable[[str], str]) -> AbstractContextManager[None]:
        """Hold the lock at `place`, or refuse because another process does."""

    @abstractmethod
    def holder(self, place: P) -> str | None:
        """Return who holds the lock at `place`, or None if nobody does."""
