"""Where, in a home, nothing may be written that is not the warehouse's own."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.storage.places import storage_of


class Reserved:
    """What nothing but the warehouse itself writes: its files, and the results of its runs.

    Paths are compared as the system follows them, links on both sides and all, and files by what
    they are: another spelling, another mount or a hard link is the same place. What lies in another
    warehouse is reserved as well.

    Args:
        paths: the warehouse.
        own: a folder in it that is the caller's own: a run's results, or the prepared text.
    """

    def __init__(self, paths: Paths, own: Path | None = None) -> None:
        self._own = Path(os.path.realpath(own)) if own else None
        self._root = Path(os.path.realpath(paths.root))
        self._lake = paths.lake
        self._places = list(self._places_in(self._root))
        self._known = _names(*self._places)

    def has(self, target: Path) -> bool:
        """Return whether a file or folder is the warehouse's, or lies in what is."""
        found = Path(os.path.realpath(target))
        others = list(self._places_around(found))
        known = self._known | _names(*others)
        if not _names(found, *found.parents).isdisjoint(known):
            return True
        return _has_several_names(found) and any(
            not _names(found).isdisjoint(_names(each))
            for place in (*self._places, *others)
            for each in place.rglob("*")
        )

    def lies_in(self, target: Path) -> bool:
        """Return whether a folder holds something of the warehouse, lost if it were emptied."""
        found = Path(os.path.realpath(target))
        places = [*self._places, *self._places_around(found)]
        above = {parent for each in places for parent in each.parents}
        return not _names(found).isdisjoint(_names(*above))

    def _places_around(self, target: Path) -> Iterator[Path]:
        for folder in (target, *target.parents):
            if folder != self._root and (folder / "lake" / "VERSION").is_file():
                yield from self._places_in(folder)

    def _places_in(self, root: Path) -> Iterator[Path]:
        home = Paths(root)
        whole = [root / "lake", home.prepared, home.prefect, home.service, home.dbt_target]
        # beside them lie what a build and DuckDB need while they work, what need not be read again,
        # and what a repair set aside
        whole += [root / name for name in ("building", "building.lock", "remembered", "set-aside")]
        whole += [Path(f"{home.database}{end}") for end in ("", ".wal", ".tmp")]
        whole += [root / "results" / run_id for run_id in self._runs_in(root)]
        for place in whole:
            if not self._is_own(place):
                for each in (place, *_links_in(place)):
                    followed = Path(os.path.realpath(each))
                    # a link to the folder that has all of this is no disk for a part of it
                    if not root.is_relative_to(followed):
                        yield from (each, followed)

    def _runs_in(self, root: Path) -> Iterator[str]:
        # the lake of another home is in that home, as far as anyone can tell
        lake = self._lake if root == self._root else root / "lake"
        for name in storage_of(lake).names(lake / "runs"):
            if name.startswith("run_id="):
                yield name.removeprefix("run_id=")

    def _is_own(self, place: Path) -> bool:
        return self._own is not None and Path(os.path.realpath(place)).is_relative_to(self._own)


def check_output(target: Path, paths: Paths, own: Path | None = None) -> None:
    """Refuse a file, or a folder that takes certain files, where the warehouse has its own.

    Args:
        target: what a user names.
        paths: the warehouse.
        own: as for `Reserved`.

    Raises:
        GatehouseError: it belongs to the warehouse, or is a device, a pipe or a socket.
    """
    if Reserved(paths, own).has(target):
        raise GatehouseError(f"{target} belongs to the warehouse: name another file or folder")
    # a finished file is renamed into place, which would remove the device itself
    if _is_special(target):
        raise GatehouseError(f"{target} is a device, a pipe or a socket: name a file")


def _is_special(target: Path) -> bool:
    """Return whether a path is something else than a file or folder, as /dev/stdout always is."""
    is_opened = target.is_symlink() and os.readlink(target).startswith("/proc/")
    return is_opened or (target.exists() and not target.is_file() and not target.is_dir())


def check_output_file(target: Path, paths: Paths, own: Path | None = None) -> None:
    """Refuse a folder, and as `check_output` does what the warehouse has as its own.

    Raises:
        GatehouseError: it belongs to the warehouse, or is a folder.
    """
    check_output(target, paths, own)
    if target.is_dir():
        raise GatehouseError(f"{target} is a folder: name a file for --output")


def check_output_folder(
    target: Path, made_here: Collection[str], paths: Paths, own: Path | None = None
) -> None:
    """Refuse a folder that the warehouse lies in or around, or that holds what others made.

    Args:
        target: what a user names.
        made_here: patterns; every folder that the command has made holds one of them.
        paths: the warehouse.
        own: as for `Reserved`; such a folder may hold anything.

    Raises:
        GatehouseError: it is neither new nor empty nor made by the same command.
    """
    reserved = Reserved(paths, own)
    made = [found for each in made_here for found in target.glob(each)]
    # a link among them would lead what is written now elsewhere
    if any(map(reserved.has, (target, *made))):
        raise GatehouseError(f"{target} belongs to the warehouse: name another folder")
    if reserved.lies_in(target):
        raise GatehouseError(f"the warehouse lies in {target}: name a new folder")
    is_own = own and Path(os.path.realpath(target)).is_relative_to(os.path.realpath(own))
    if made or is_own or not target.is_dir():
        return
    if any(not each.name.startswith(".") for each in target.iterdir()):
        raise GatehouseError(f"{target} holds other files: name a new or an empty folder")


def _names(*paths: Path) -> set[object]:
    """Return what paths are known by: their spelling, and what is there, its device and number."""
    names: set[object] = set(paths)
    for path in paths:
        with suppress(OSError, ValueError):
            found = path.stat()
            names.add((found.st_dev, found.st_ino))
    return names


def _has_several_names(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_nlink > 1  # a folder has one for each in it
    except (OSError, ValueError):
        return False


def _links_in(folder: Path) -> Iterator[Path]:
    """Yield the links in a folder and in the folders there: disks that a table or a run is on."""
    for pattern in ("*", "*/*"):
        yield from (each for each in folder.glob(pattern) if each.is_symlink())
