"""Who may write in a bucket: locks that end by themselves, because no kernel drops them.

A lock is an object that names its holder. The holder renews it; one that has not been renewed for
SECONDS, or whose process has ended on this very machine, may be taken over. Whoever has lost a
lease writes nothing more.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import in_words
from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.conditions import ConditionalObjects, Found
from gatehouse.warehouse.storage.holders import encoded, has_ended, introduction, name_of

SECONDS = 300.0
"""How long a lease holds after it was last renewed."""

SECONDS_BETWEEN_RENEWALS = 30.0
SECONDS_TRUSTED = 60.0
"""How long after its last renewal a lease is taken for held without asking."""

SECONDS_BETWEEN_TRIES = 0.2

TRIES = 5
"""How often a lock is asked for that comes and goes meanwhile."""


class Lease:
    """A lock that this process holds, until it is released or lost.

    Args:
        objects: where it lies.
        place: the lock's object.
        content: what the object says, for its own renewals.
        tag: the object's, as this process wrote it last.
    """

    def __init__(
        self, objects: ConditionalObjects, place: ObjectPath, content: dict[str, Any], tag: str
    ) -> None:
        self._objects = objects
        self.place = place
        self._content = content
        self._tag = tag
        self._renewed = _now()
        self._lost: str | None = None
        self._guard = threading.Lock()
        self._over = threading.Event()

    def check(self) -> None:
        """Make sure that this process still holds the lock; ask, where that is not certain.

        Raises:
            GatehouseError: another process has taken it over, or nobody can say.
        """
        with self._guard:
            if self._lost is None and _since(self._renewed) > SECONDS_TRUSTED:
                self._renew()
            if self._lost is not None:
                raise GatehouseError(
                    f"{self.place} was taken over by {self._lost} while this process could not "
                    "renew it: nothing more is written; wait for that process to end, and run the "
                    "same command again"
                )

    def keep(self) -> None:
        """Renew the lease until it is released or lost."""
        while not self._over.wait(SECONDS_BETWEEN_RENEWALS):
            with self._guard:
                if self._lost is not None:
                    return
                # `check` says it, where it matters
                with suppress(GatehouseError):
                    self._renew()

    def release(self) -> None:
        """Let go of the lock."""
        self._over.set()
        with self._guard:
            if self._lost is None:
                # it ends by itself otherwise
                with suppress(GatehouseError):
                    self._objects.delete(self.place, self._tag)

    def _renew(self) -> None:
        # the tag is a hash of the content, so that no two contents may be the same
        self._content["renewals"] += 1
        content, asked = encoded(self._content), _now()
        tag = self._objects.replace(self.place, content, self._tag)
        if tag is None:
            # an answer may have been lost, and what it answered come about
            found = self._objects.read(self.place)
            if found is None or found.content != content:
                self._lost = _named(found)
                return
            tag = found.tag
        self._tag, self._renewed = tag, asked


@contextmanager
def alone(
    objects: ConditionalObjects,
    place: ObjectPath,
    refusal: Callable[[str], str],
    sharers: Callable[[ObjectPath], list[str]],
) -> Iterator[Lease]:
    """Hold the lock at `place`, renewed, or refuse: another process does, or others share it.

    Args:
        objects: where it lies.
        place: the lock's object.
        refusal: what to say, given who holds the lock.
        sharers: who shares the lock at a place.

    Raises:
        GatehouseError: another process holds it, the bucket cannot be written, or it does not heed
            conditions.
    """
    with _kept(_taken(objects, place, refusal, tried=True)) as lease:
        # of two that begin at once, one alone and one to share, at least one sees the other
        if others := sharers(place):
            raise GatehouseError(refusal(in_words(others)))
        yield lease


@contextmanager
def together(
    objects: ConditionalObjects,
    place: ObjectPath,
    own: ObjectPath,
    refusal: Callable[[str], str],
) -> Iterator[Lease]:
    """Hold the lock at `own`, one of those who share that at `place`, or refuse as one holds that.

    Raises:
        GatehouseError: as `alone`.
    """
    with _kept(_taken(objects, own, refusal, tried=True)) as lease:
        if one := holder(objects, place):
            raise GatehouseError(refusal(one))
        yield lease


@contextmanager
def after_waiting(objects: ConditionalObjects, place: ObjectPath) -> Iterator[Lease]:
    """Hold the lock at `place`, after its present holder.

    Raises:
        GatehouseError: the bucket cannot be written.
    """
    lease = None
    while lease is None:
        try:
            lease = _taken(objects, place, _Held)
        except _Held:
            time.sleep(SECONDS_BETWEEN_TRIES)
    with _kept(lease):
        yield lease


def holder(objects: ConditionalObjects, place: ObjectPath) -> str | None:
    """Return who holds the lock, or None if nobody does."""
    found = objects.read(place)
    return _named(found) if found and _holds(found) else None


class _Held(Exception):
    """Another process holds a lock."""


@contextmanager
def _kept(lease: Lease) -> Iterator[Lease]:
    threading.Thread(target=lease.keep, daemon=True).start()
    try:
        yield lease
    finally:
        lease.release()


def _taken(
    objects: ConditionalObjects,
    place: ObjectPath,
    refusal: Callable[[str], str | Exception],
    *,
    tried: bool = False,
) -> Lease:
    """Take a lock, or refuse; `tried`: after the bucket was seen to heed conditions."""

    def refused(found: Found | None) -> Exception:
        said = refusal(_named(found))
        return said if isinstance(said, Exception) else GatehouseError(said)

    content = introduction()
    wanted, found = encoded(content), None
    for _ in range(TRIES):
        tag = objects.create(place, wanted)
        if tag is None:
            found = objects.read(place)
            if found is None:
                continue
            if found.content == wanted:  # the answer was lost
                tag = found.tag
            elif _holds(found):
                raise refused(found)
            else:
                tag = objects.replace(place, wanted, found.tag)
        elif tried and objects.create(place, wanted) is not None:
            raise GatehouseError(
                f"the bucket of {place} writes whatever the condition (If-None-Match): two "
                "processes could write one run; keep the lake in a bucket that heeds conditions"
            )
        if tag is not None:
            return Lease(objects, place, content, tag)
    raise refused(found)


def _holds(found: Found) -> bool:
    return found.age < SECONDS and not has_ended(found.content)


def _named(found: Found | None) -> str:
    return name_of(found.content if found else b"")


def _now() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _since(then: tuple[float, float]) -> float:
    """Return the seconds since a time; one clock stands still while a machine sleeps."""
    return max(now - before for now, before in zip(_now(), then, strict=True))
