"""A lake in a bucket, by fsspec: reading over any of its protocols, writing where leases hold."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from gatehouse.warehouse.files import cannot_write
from gatehouse.warehouse.plain_text import in_words
from gatehouse.warehouse.storage import leases, patience
from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.conditions import KNOWN, ConditionalObjects, conditional
from gatehouse.warehouse.storage.faults import faults_of
from gatehouse.warehouse.storage.file_systems import file_system, reading_at_once
from gatehouse.warehouse.storage.leases import Lease
from gatehouse.warehouse.storage.listing import Listing, is_file, marks_of, name_of
from gatehouse.warehouse.storage.storage import Entry, Storage, T
from gatehouse.warehouse.writers.temporary import writer_name

SHARER = ".sharer"
"""How the names of locks end that several processes hold together."""


class Bucket(Storage[ObjectPath]):
    """Objects of one bucket; nothing is asked of it before it must be.

    Args:
        place: any place in it.
    """

    def __init__(self, place: ObjectPath) -> None:
        self._place = place
        self._leases: list[Lease] = []
        self._listing: Listing | None = None

    @cached_property
    def files(self) -> Any:
        """The bucket as a file system of fsspec; raises as `file_system`."""
        return file_system(self._place.protocol)

    @cached_property
    def _objects(self) -> ConditionalObjects:
        return conditional(self._place, self.files)

    def read(self, place: ObjectPath) -> bytes:
        """As of Storage."""
        if self._listing and self._listing.has(place) and not self.is_there(place):
            raise FileNotFoundError(str(place))
        return patience.read(self.files, place, **reading_at_once(place.protocol))

    def read_each(self, places: Iterable[ObjectPath]) -> Iterator[bytes]:
        """As of Storage; many are asked for at a time."""
        wanted = list(places)
        if len(wanted) < 2:
            yield from map(self.read, wanted)
            return
        with faults_of(wanted[0]):
            at_once = reading_at_once(self._place.protocol)
            found = self.files.cat([place.key for place in wanted], **at_once)
        # file systems of fsspec differ in whether keys begin with a slash
        by_name = {str(key).lstrip("/"): content for key, content in found.items()}
        yield from (by_name[place.key] for place in wanted)

    @contextmanager
    def on_disk(self, place: ObjectPath) -> Iterator[Path]:
        """As of Storage."""
        with tempfile.TemporaryDirectory(prefix="gatehouse-") as folder:
            path = Path(folder) / place.name
            with faults_of(place):
                self.files.get_file(place.key, str(path))
            yield path

    def source(self, place: ObjectPath) -> Any:
        """As of Storage."""
        with faults_of(place):
            return self.files.open(place.key, "rb")

    def size(self, place: ObjectPath) -> int | None:
        """As of Storage."""
        return self.sizes(place.parent, [place.name])[place.name]

    def sizes(self, folder: ObjectPath, names: Iterable[str]) -> dict[str, int | None]:
        """As of Storage."""
        found = {name_of(each): int(each["size"]) for each in self._listed(folder) if is_file(each)}
        return {name: found.get(name) for name in names}

    def is_there(self, place: ObjectPath) -> bool:
        """As of Storage."""
        if self._listing and self._listing.has(place):
            return place.name in self.names(place.parent)
        with faults_of(place):
            return bool(self.files.exists(place.key))

    def entries(self, folder: ObjectPath) -> list[Entry]:
        """As of Storage."""
        return [Entry(name_of(each), not is_file(each)) for each in self._listed(folder)]

    def names(self, folder: ObjectPath) -> set[str]:
        """As of Storage."""
        return set(map(name_of, self._listed(folder)))

    def marks(self, place: ObjectPath) -> dict[str, list[Any]]:
        """As of Storage."""
        folder = place.parent
        found = {
            str(folder / name_of(each)): marks_of(each)
            for each in self._listed(folder)
            if is_file(each)
        }
        return {str(place): [1]} | found

    @contextmanager
    def listed_once(self, root: ObjectPath) -> Iterator[bool]:
        """As of Storage: all commands ask for most of it."""
        self._listing = Listing(lambda key: self.files.find(key, detail=True), root)
        try:
            yield True
        finally:
            self._listing = None

    def tag(self, place: ObjectPath) -> str | None:
        """As of Storage."""
        if not (self._listing and self._listing.has(place)):
            return None
        tag = self.marks(place)[str(place)]
        return str(tag[1]) if len(tag) > 1 else None

    def publish(self, place: ObjectPath, write: Callable[[Path], T]) -> T:
        """As of Storage."""
        _ = self._objects  # what can only be read is said before any work
        with tempfile.TemporaryDirectory(prefix="gatehouse-") as folder:
            path = Path(folder) / place.name
            try:
                written = write(path)
            except OSError as error:
                raise cannot_write(path, error) from error
            self._check_leases()
            with faults_of(place):
                self.files.put_file(str(path), place.key)
            # what was uploaded meanwhile must not be recorded
            self._check_leases()
            return written

    def move_out(self, place: ObjectPath, target: Path) -> None:
        """As of Storage: what is removed has come whole."""
        with faults_of(place):
            found = self.files.find(place.key)
            for key in found:
                below = target / key.removeprefix(place.key).lstrip("/")
                below.parent.mkdir(parents=True, exist_ok=True)
                self.files.get_file(key, str(below))
        self.remove_folder(place)

    def remove(self, place: ObjectPath) -> None:
        """As of Storage."""
        self._check_leases()
        with suppress(FileNotFoundError), faults_of(place):
            self.files.rm_file(place.key)

    def remove_folder(self, place: ObjectPath) -> None:
        """As of Storage."""
        self._check_leases()
        with suppress(FileNotFoundError), faults_of(place):
            if found := self.files.find(place.key):
                self.files.rm(found)

    def make_folder(self, place: ObjectPath) -> None:
        """As of Storage: none can be."""

    def empty_folder(self, place: ObjectPath) -> None:
        """As of Storage."""
        self.remove_folder(place)

    def remove_empty_folder(self, place: ObjectPath) -> None:
        """As of Storage: there is none."""

    def remove_leftovers(self, folder: ObjectPath, condition: Callable[[Path], bool]) -> None:
        """As of Storage: there are none, an upload that is cut off is no object."""

    @contextmanager
    def exclusive(self, place: ObjectPath, refusal: Callable[[str], str]) -> Iterator[None]:
        """As of Storage."""
        with self._holding(leases.alone(self._objects, place, refusal, self._sharers)):
            yield

    @contextmanager
    def shared(self, place: ObjectPath, refusal: Callable[[str], str]) -> Iterator[None]:
        """As of Storage."""
        own = place.parent / f"{place.stem}.{writer_name()}{SHARER}"
        with self._holding(leases.together(self._objects, place, own, refusal)):
            yield

    @contextmanager
    def in_turn(self, place: ObjectPath, alone: ObjectPath) -> Iterator[None]:
        """As of Storage."""
        if any(lease.place == alone for lease in self._leases):
            yield
        else:
            with self._holding(leases.after_waiting(self._objects, place)):
                yield

    def has_been_locked(self, place: ObjectPath) -> bool:
        """As of Storage."""
        return place.name in self.names(place.parent) or bool(self._files_of_sharers(place))

    def holder(self, place: ObjectPath) -> str | None:
        """As of Storage."""
        # where nothing writes on a condition, no Gatehouse writes at all
        if place.protocol not in KNOWN:
            return None
        listed = self._listing is not None and self._listing.has(place)
        one = None if listed and not self.is_there(place) else leases.holder(self._objects, place)
        return one or in_words(self._sharers(place)) or None

    def _sharers(self, place: ObjectPath) -> list[str]:
        every = (leases.holder(self._objects, each) for each in self._files_of_sharers(place))
        return sorted(filter(None, every))

    def _files_of_sharers(self, place: ObjectPath) -> list[ObjectPath]:
        folder = place.parent
        return [
            folder / name
            for name in self.names(folder)
            if name.startswith(f"{place.stem}.") and name.endswith(SHARER)
        ]

    @contextmanager
    def _holding(self, taking: AbstractContextManager[Lease]) -> Iterator[None]:
        with taking as lease:
            self._leases.append(lease)
            try:
                yield
            finally:
                self._leases.remove(lease)

    def _check_leases(self) -> None:
        for lease in list(self._leases):
            lease.check()

    def _listed(self, folder: ObjectPath) -> list[dict[str, Any]]:
        if self._listing and self._listing.has(folder):
            return self._listing.of(folder)
        with suppress(FileNotFoundError):
            found = patience.listed(self.files, folder, "ls", folder.key)
            # consoles make an empty object for a folder; one that has the folder's own name is none
            return [each for each in found if each["name"].rstrip("/") != folder.key]
        return []
