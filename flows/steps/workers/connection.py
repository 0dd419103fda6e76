"""The workers that a command asks for: processes of its own, or those of a Dask scheduler."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from gatehouse.flows.console import say
from gatehouse.flows.request import Workers
from gatehouse.flows.steps.workers.settings import dask
from gatehouse.warehouse.errors import GatehouseError

SECONDS_TO_ANSWER = 5
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_TRIES = 0.1

GONE = (
    "the Dask scheduler has gone: start it again, and run the same command; what has landed stays"
)


SHARED = "put the home (--home, GATEHOUSE_HOME) on a file system that every machine has"


def unseen(place: object) -> GatehouseError:
    """Return the refusal of a worker, by itself, that does not see what its command does."""
    return GatehouseError(f"the worker on {socket.gethostname()} does not see {place}: {SHARED}")


class Connection:
    """Workers that are there.

    Args:
        client: Dask's, of their scheduler.
        check: called from time to time while nothing happens; it may raise what went wrong.
    """

    def __init__(self, client: Any, check: Callable[[], None]) -> None:
        self._client = client
        self._check = check

    def hosts(self) -> list[str]:
        """Wait until there is a worker; return each one's host.

        Raises:
            GatehouseError: workers cannot start, or the scheduler has gone.
        """
        while True:
            found = self._client.scheduler_info(n_workers=-1)["workers"].values()
            if found:
                return [each["host"] for each in found]
            self._check()
            time.sleep(SECONDS_BETWEEN_TRIES)

    def results(self, function: Callable[[Any], Any], orders: Iterable[Any]) -> Iterator[Any]:
        """Call a function for each order on some worker; yield what it returns as it comes.

        Where a worker is killed, the function is called again for its order, even for one that was
        done. Function and orders are of modules that the workers have too.

        Raises:
            GatehouseError: workers are killed again and again, or lack the package; as `hosts`.
        """
        pending = [self._client.submit(function, order, pure=False) for order in orders]
        done: SimpleQueue[Any] = SimpleQueue()
        for future in pending:
            future.add_done_callback(done.put)
        try:
            for _ in pending:
                yield _result(self._next(done))
        finally:
            if self._client.status == "running":
                self._client.cancel(pending, force=True)

    def _next(self, done: "SimpleQueue[Any]") -> Any:
        while True:
            try:
                return done.get(timeout=SECONDS_BETWEEN_LOOKS)
            except Empty:
                self._check()


@contextmanager
def connected(workers: Workers, shares: Sequence[dict[str, str]]) -> Iterator[Connection]:
    """Connect to workers for the block; those of this machine live as long as it.

    Args:
        workers: that are asked for.
        shares: variables for each process of this machine.

    Raises:
        GatehouseError: there is no Dask, or nobody answers at the address.
    """
    with client_of(workers, shares) as (client, check):
        yield Connection(client, check)


@contextmanager
def client_of(
    workers: Workers, shares: Sequence[dict[str, str]]
) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Give Dask's client of workers, and what raises, when it is called, what went wrong.

    Args:
        workers: as for `connected`.
        shares: as for `connected`.

    Raises:
        GatehouseError: as `connected`.
    """
    from gatehouse.flows.steps.workers.local import local_cluster

    with dask(own=workers.scheduler is None):
        opened = _remote(workers.scheduler) if workers.scheduler else local_cluster([*shares])
        with opened as found:
            yield found


@contextmanager
def _remote(address: str) -> Iterator[tuple[Any, Callable[[], None]]]:
    from distributed import Client

    file = Path(address)
    named = {"scheduler_file": str(file)} if file.is_file() else {"address": address}
    try:
        client = Client(**named, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise GatehouseError(
            f"--scheduler {address}: no Dask scheduler answers there ({first}); start one with "
            "`dask scheduler`, or use --workers N on this machine"
        ) from error
    said = False

    def check() -> None:
        nonlocal said
        if client.status != "running":
            raise GatehouseError(GONE)
        if not said and not client.scheduler_info()["workers"]:
            said = True
            say(f"no worker at {address} yet: waiting for one")

    with client:
        yield client, check


def explained(error: BaseException, work: str, less: str) -> BaseException:
    """Return the line for what Dask raises in place of a result; any other error as it is.

    Args:
        error: that was raised.
        work: what a worker did, in the past tense.
        less: what to do if memory ran out.
    """
    from distributed import CancelledError, KilledWorker

    if isinstance(error, CancelledError):
        return GatehouseError(GONE)
    if isinstance(error, KilledWorker):
        return GatehouseError(
            f"every worker that {work} was killed, {error.allowed_failures + 1} of them: if memory "
            f"ran out, {less}"
        )
    words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if isinstance(error, ImportError | AttributeError) or "deserialization" in words:
        return GatehouseError(
            f"the cluster cannot run this Gatehouse ({words}): install the same packages for its "
            "scheduler and workers"
        )
    return error


def _result(future: Any) -> Any:
    """Return what a call has returned.

    Raises:
        GatehouseError: Dask could not have it called, or the connection is lost.
    """
    try:
        return future.result()
    except Exception as error:
        raise explained(
            error, "had the same work", "use fewer --workers or give each more"
        ) from error
