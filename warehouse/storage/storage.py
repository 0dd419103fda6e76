"""What a lake asks of the place where it lies."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
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
    def read_each(self, places: Iterable[P]) -> Iterator[bytes]:
        """Give the content of each of some files, in their order."""

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
    def listed_once(self, root: P) -> AbstractContextManager[bool]:
        """Answer what lies below `root` from one listing in the block, where that saves requests.

        The block gets whether it is so: files that land meanwhile are then not there, and what
        seems to be missing is worth a second look without it.
        """

    @abstractmethod
    def tag(self, place: P) -> str | None:
        """Return what tells a file's content by a listing; None where reading it is as quick."""

    @abstractmethod
    def publish(self, place: P, write: Callable[[Path], T]) -> T:
        """Let `write(temporary path)` make a file, put it in place whole, and return its answer."""

    @abstractmethod
    def move_out(self, place: P, target: Path) -> None:
        """Move a file or folder to where nothing is, on this machine."""

    @abstractmethod
    def remove(self, place: P) -> None:
        """Remove a file, or nothing."""

    @abstractmethod
    def remove_folder(self, place: P) -> None:
        """Remove a folder with what it holds, or nothing."""

    @abstractmethod
    def make_folder(self, place: P) -> None:
        """Make a folder, where an empty one can be."""

    @abstractmethod
    def empty_folder(self, place: P) -> None:
        """Remove what a folder holds, and keep it where an empty one can be."""

    @abstractmethod
    def remove_empty_folder(self, place: P) -> None:
        """Remove a folder that holds nothing, or a link to one and not what it leads to."""

    @abstractmethod
    def remove_leftovers(self, folder: P, condition: Callable[[Path], bool]) -> None:
        """Remove those files in a folder that were never finished and have a condition."""

    @abstractmethod
    def exclusive(self, place: P, refusal: Callable[[str], str]) -> AbstractContextManager[None]:
        """Hold the lock at `place`, or refuse because another process does, alone or not."""

    @abstractmethod
    def shared(self, place: P, refusal: Callable[[str], str]) -> AbstractContextManager[None]:
        """Hold the lock at `place` together with others, or refuse because one holds it alone."""

    @abstractmethod
    def in_turn(self, place: P, alone: P) -> AbstractContextManager[None]:
        """Hold the lock at `place`, after its present holder.

        Args:
            place: the lock.
            alone: a lock whose holder needs no other, if it holds that alone.
        """

    @abstractmethod
    def has_been_locked(self, place: P) -> bool:
        """Return whether a process holds the lock at `place`, or was killed while it did."""

    @abstractmethod
    def holder(self, place: P) -> str | None:
        """Return who holds the lock at `place`, alone or together; None if nobody does."""
