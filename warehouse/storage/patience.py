"""What the first requests of a process tell of a bucket: whether it answers, and is there at all.

Clients ask again where a connection fails, with longer and longer pauses: good in the middle of a
long run, and minutes too long where the address is wrong. And of a bucket that is not there they
list nothing, as of an empty one: only reading tells the two apart.
"""

import asyncio
from contextlib import suppress
from typing import Any

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.faults import UNANSWERED, faults_of

SECONDS_TO_ANSWER = 20.0
"""For the first request, with all its repetitions."""


def read(files: Any, place: ObjectPath, **options: Any) -> bytes:
    """Return the content of an object; raises as `asked`."""
    try:
        content: bytes = asked(files, place, "cat_file", place.key, **options)
    except FileNotFoundError:
        files.is_there = True
        raise
    files.is_there = True
    return content


def listed(files: Any, place: ObjectPath, method: str, key: str) -> Any:
    """Return what `ls` or `find` has below a key, in detail; raises as `asked`."""
    try:
        if found := asked(files, place, method, key, detail=True):
            return found
    except FileNotFoundError:
        _see(files, ObjectPath(f"{place.protocol}://{key}"))
        raise
    _see(files, ObjectPath(f"{place.protocol}://{key}"))
    return found


def _see(files: Any, place: ObjectPath) -> None:
    """Look once whether the bucket of a place is there, by an object that need not be."""
    if not getattr(files, "is_there", False):
        with suppress(FileNotFoundError):
            read(files, place)


def asked(files: Any, place: ObjectPath, method: str, *words: Any, **options: Any) -> Any:
    """Return what a file system of fsspec answers; before its first answer it has little time.

    Args:
        files: the file system.
        place: what the request is about.
        method: of the file system.
        words: for the method, as `options`.

    Raises:
        FileNotFoundError: there is no such object.
        GatehouseError: nothing answers, or as `faults_of`.
    """
    if getattr(files, "has_answered", False) or not files.async_impl:
        with faults_of(place):
            return getattr(files, method)(*words, **options)
    from fsspec.asyn import sync

    async def ask() -> Any:
        answering = asyncio.ensure_future(getattr(files, f"_{method}")(*words, **options))
        done, _ = await asyncio.wait({answering}, timeout=SECONDS_TO_ANSWER)
        if not done:
            # not waited for: a client may go on with what it was doing
            answering.cancel()
            raise GatehouseError(
                f"{place.protocol}://{place.bucket} has not answered within "
                f"{SECONDS_TO_ANSWER:g} s: {UNANSWERED}"
            )
        return answering.result()

    with faults_of(place):
        try:
            found = sync(files.loop, ask)
        except FileNotFoundError:
            files.has_answered = True
            raise
        files.has_answered = True
        return found
