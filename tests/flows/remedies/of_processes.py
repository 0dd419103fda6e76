"""Faults of other processes, and of this one: locks, folders, errors that nobody foresaw."""

import errno
import subprocess
import sys
from collections.abc import Callable

import duckdb

from gatehouse.flows.steps import build
from gatehouse.flows.upkeep import status
from tests.flows.remedies.of_the_disk import again
from tests.flows.remedies.of_the_lake import BUILD
from tests.flows.remedies.remedy import CAPTURE, Place, Remedy


def being_written(place: Place) -> None:
    place.opened.enter_context(place.lake.locks.writing(place.run))


def being_built(place: Place) -> None:
    place.opened.enter_context(build.lock(place.paths))


def homeless(place: Place) -> None:
    place.patch.delenv("GATEHOUSE_HOME")
    place.patch.setattr("gatehouse.warehouse.paths.default_home", nobody)
    place.opened.callback(place.patch.setenv, "GATEHOUSE_HOME", str(place.home))


def nobody() -> None:
    raise RuntimeError("Could not determine home directory.")


def raising(error: Exception) -> Callable[[Place], object]:
    """Return what lets `gatehouse status` end in an error."""

    def fail(place: Place) -> None:
        real = status.overview

        def fails(*arguments: object) -> str:
            raise error

        place.patch.setattr(status, "overview", fails)
        place.opened.callback(place.patch.setattr, status, "overview", real)

    return fail


def without_a_folder(place: Place) -> None:
    gone = place.folder / "gone"
    gone.mkdir()
    place.patch.chdir(gone)
    gone.rmdir()
    place.opened.callback(place.patch.chdir, place.folder)


OPENER = """
import duckdb, sys
opened = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def open_elsewhere(place: Place) -> None:
    words = [sys.executable, "-c", OPENER, str(place.paths.database)]
    pipe = subprocess.PIPE
    opener = place.opened.enter_context(subprocess.Popen(words, stdin=pipe, stdout=pipe))
    assert opener.stdout and opener.stdout.readline()


def open_here(place: Place) -> None:
    place.opened.enter_context(duckdb.connect(str(place.paths.database)))


def folder_in_its_place(place: Place) -> None:
    place.paths.database.rename(place.folder / "moved.duckdb")
    place.paths.database.mkdir()


def put_right(place: Place) -> None:
    place.paths.database.rmdir()
    (place.folder / "moved.duckdb").rename(place.paths.database)


ROWS = (
    Remedy(
        "another capture of the run",
        CAPTURE,
        "RUN is being written by process …: wait for it to end, or end it, and run the same "
        "command",
        "wait for it to end",
        being_written,
        again,
    ),
    Remedy(
        "another build",
        BUILD,
        "another build is writing …/building (process …): wait for it to end and run the same "
        "command",
        "wait for it to end and run the same command",
        being_built,
        again,
    ),
    Remedy(
        "a user without a home folder (a fake)",
        "gatehouse status",
        "this user has no home folder: set HOME to a folder that can be written",
        "set HOME to a folder that can be written",
        homeless,
        again,
    ),
    Remedy(
        "an error that nobody foresaw (a fake)",
        "gatehouse status",
        "cannot do `gatehouse status`: TypeError: a bug; give it another input; after "
        "PYTHONDEVMODE=1 the same command shows where this is, for a report",
        "give it another input",
        raising(TypeError("a bug")),
        again,
    ),
    Remedy(
        "an error of the disk that nobody foresaw (a fake)",
        "gatehouse status",
        "Input/output error; put that right; what has landed stays, and the same command resumes "
        "from there",
        "put that right",
        raising(OSError(errno.EIO, "Input/output error")),
        again,
    ),
    Remedy(
        "a working folder that is gone",
        "gatehouse status --home ../home",
        "the working folder is gone: change to one that is there, and run the command again",
        "change to one that is there, and run the command again",
        without_a_folder,
        again,
        then="gatehouse status --home home",
    ),
    Remedy(
        "a database that another process has open",
        "gatehouse validate",
        "… is open for writing by process … (…): close it there, or open it read-only there",
        "close it there",
        open_elsewhere,
        again,
    ),
    Remedy(
        "a database that this Python has open",
        "gatehouse validate",
        "… is open in this Python already (…): close that connection first",
        "close that connection first",
        open_here,
        again,
    ),
    Remedy(
        "a folder in the place of the database",
        "gatehouse validate",
        "cannot open …: …; put that right and run the same command again",
        "put that right and run the same command again",
        folder_in_its_place,
        put_right,
    ),
)
