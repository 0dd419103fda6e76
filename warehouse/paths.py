"""Where everything of one warehouse is kept, and where nothing else may be written.

One folder, named by GATEHOUSE_HOME, has it all.
"""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from platformdirs import user_data_path

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.storage.addresses import (
    ObjectPath,
    Place,
    checked_address,
    is_address,
)
from gatehouse.warehouse.storage.places import storage_of

PACKAGE = Path(__file__).resolve().parent.parent
DBT_PROJECT = PACKAGE / "dbt_project"
OF_A_BUCKET = re.compile(r"[a-z][a-z0-9+.-]+:/")
"""The beginning of an address, also as a Path has it, which makes one slash of two."""

IS_CHECKOUT = (PACKAGE / "pyproject.toml").is_file()
"""Whether the package is a checkout: nothing is written into an installed one."""


@dataclass(frozen=True)
class Paths:
    """The folders and files of the warehouse at `root`.

    Attributes:
        root: the home.
        bucket: where the lake is, if it is not in the home.
    """

    root: Path
    bucket: ObjectPath | None = None

    @classmethod
    def resolve(cls, home: Path | None = None) -> "Paths":
        """Return the paths of `home`, else of GATEHOUSE_HOME, else of `default_home`.

        The lake is in the home, unless GATEHOUSE_LAKE has an address.

        Raises:
            GatehouseError: it is an address, it lies in the lake of a warehouse, or
                GATEHOUSE_LAKE has an address that no lake can have.
        """
        chosen = home or os.environ.get("GATEHOUSE_HOME") or default_home()
        if OF_A_BUCKET.match(str(chosen)):
            raise GatehouseError(
                f"{chosen} is an address, and a home is a folder of this machine: name a folder; "
                "--lake takes the address of a bucket"
            )
        root = Path(chosen).expanduser().resolve()
        for folder in (root, *root.parents):
            if folder.name == "lake" and (folder / "VERSION").is_file():
                raise GatehouseError(
                    f"{root} lies in a lake: name {folder.parent}, or another home"
                )
        lake = os.environ.get("GATEHOUSE_LAKE", "")
        return cls(root, checked_address(lake) if is_address(lake) else None)

    @property
    def lake(self) -> Place:
        """Parquet files, one folder a table."""
        return self.bucket or self.root / "lake"

    @property
    def database(self) -> Path:
        """The DuckDB file that dbt writes and everything else reads."""
        return self.root / "gatehouse.duckdb"

    @property
    def prepared(self) -> Path:
        """Datasets as prepared samples."""
        return self.root / "prepared"

    @property
    def remembered(self) -> Path:
        """What need not be read again; safe to delete."""
        return self.root / "remembered"

    @property
    def prefect(self) -> Path:
        """Prefect's own folder."""
        return self.root / "prefect"

    @property
    def service(self) -> Path:
        """What `gatehouse up` keeps: records, logs and the database of a server with pages."""
        return self.root / "server"

    @property
    def dbt_target(self) -> Path:
        """dbt's artifacts, the static documentation page among them."""
        return self.root / "dbt"

    @property
    def lineage_page(self) -> Path:
        """The page of every model, column and its lineage, once `gatehouse docs` has written it."""
        return self.dbt_target / "static_index.html"

    @property
    def sweep(self) -> Path:
        """The verdict of every run, layer and pair of thresholds."""
        return self.root / "results" / "sweep.csv"

    def comparison(self, run_ids: Sequence[str]) -> Path:
        """The page of two runs or more side by side.

        Raises:
            GatehouseError: a name is not a run id.
        """
        first, *others = map(checked_run_id, run_ids)
        name = f"{first}-and-{others[0]}"
        if len(others) > 1:
            # other runs with the same first one are another page
            digest = sha256("/".join(others).encode()).hexdigest()[:10]
            name = f"{first}-and-{len(others)}-others-{digest}"
        return self.root / "results" / f"{name}.html"

    def trend(self, series: str) -> Path:
        """The page of the runs of a series, by its name in `fct_run_trend`."""
        return self.root / "results" / f"trend-{series}.html"

    def results(self, run_id: str) -> Path:
        """Tables, figures and the report of one run.

        Raises:
            GatehouseError: the name is not a run id.
        """
        return self.root / "results" / checked_run_id(run_id)


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


def file_address(path: Path) -> str:
    """Return the address of a file as a URL; the path may be one from the working folder."""
    return path.absolute().as_uri()


def default_home() -> Path:
    """Return warehouse/data in a checkout; of an installed package the platform's data folder."""
    return PACKAGE / "warehouse" / "data" if IS_CHECKOUT else user_data_path("gatehouse")


def is_run_id(name: str) -> bool:
    """Return whether the name can be a run id."""
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9-]*", name))


def checked_run_id(run_id: str) -> str:
    """Return the name if it can be a run id: no separators, dots or quotes get near a path.

    Raises:
        GatehouseError: the name has characters that a run id cannot have.
    """
    if not is_run_id(run_id):
        raise GatehouseError(f"{run_id!r} is not a run id: `gatehouse status` lists the runs")
    return run_id
