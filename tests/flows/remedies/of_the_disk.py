"""Faults of the disk; one that a test cannot have is made by a fake."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from types import ModuleType

from tests.conftest import files_of_at_most
from tests.flows.remedies.damages import new_home
from tests.flows.remedies.remedy import CAPTURE, Place, Remedy

ANOTHER_PLACE = (
    "name another place for it (--home or GATEHOUSE_HOME names the warehouse's), then run the same "
    "command again"
)


def full(place: Place) -> None:
    shutil.rmtree(place.home)
    place.opened.enter_context(files_of_at_most(20_000))


def again(place: Place) -> None:
    """End what is held: a lock, a disk's bounds, a fake."""
    place.opened.close()


def failing(owner: ModuleType, name: str, number: int) -> Callable[[Place], object]:
    """Return what lets a function of the system fail for whatever lies in the home."""

    def fail(place: Place) -> None:
        real = getattr(owner, name)

        def fails(target: object, *arguments: object) -> object:
            where = target if isinstance(target, str | os.PathLike) else target.name
            if str(where).startswith(f"{place.home}/"):
                raise OSError(number, os.strerror(number), str(where))
            return real(target, *arguments)

        place.patch.setattr(owner, name, fails)
        place.opened.callback(place.patch.setattr, owner, name, real)

    return fail


def without_locks(place: Place) -> None:
    failing(fcntl, "flock", errno.ENOLCK)(place)


def read_only(place: Place) -> None:
    shutil.rmtree(place.home)
    failing(os, "replace", errno.EROFS)(place)


def in_its_place(place: Place) -> None:
    place.home.rename(place.folder / "moved")
    place.text("home", "in the way")


def moved_away(place: Place) -> None:
    place.home.rename(place.folder / "moved away")


def written(way_out: str, reason: str) -> str:
    return f"cannot write …: {reason}; {way_out} or {ANOTHER_PLACE}"


ROWS = (
    Remedy(
        "a full disk (a bound on the size of files)",
        CAPTURE,
        written("make room", "File too large"),
        "make room",
        full,
        again,
    ),
    Remedy(
        "a full disk (a bound on the size of files), and an output",
        'gatehouse sql "select * from range(9000)" --output {folder}/full.csv',
        written("make room", "File too large"),
        "name another place for it",
        lambda place: place.opened.enter_context(files_of_at_most(20_000)),
        then='gatehouse sql "select * from range(9)" --output {folder}/elsewhere.csv',
    ),
    Remedy(
        "a home that can only be read (a fake)",
        CAPTURE,
        written("make it writable", "Read-only file system"),
        "make it writable",
        read_only,
        again,
    ),
    Remedy(
        "a home that can only be read (a fake)",
        CAPTURE,
        written("make it writable", "Read-only file system"),
        ANOTHER_PLACE,
        read_only,
        new_home,
    ),
    Remedy(
        "a file in the place of the home",
        CAPTURE,
        written("move away what is in its place", "Not a directory"),
        "move away what is in its place",
        in_its_place,
        moved_away,
    ),
    Remedy(
        "a file system without locks (a fake)",
        CAPTURE,
        written("mount its file system so that files can be locked", "No locks available"),
        "mount its file system so that files can be locked",
        without_locks,
        again,
    ),
    Remedy(
        "a file system without locks (a fake)",
        CAPTURE,
        written("mount its file system so that files can be locked", "No locks available"),
        ANOTHER_PLACE,
        without_locks,
        new_home,
    ),
)
