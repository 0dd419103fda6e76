"""Work that is done by the workers of a Dask cluster, order by order; this process waits for it."""

import contextvars
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from gatehouse.flows.console import say
from gatehouse.flows.request import Workers
from gatehouse.flows.steps.workers.connection import SHARED, client_of, explained
from gatehouse.flows.steps.workers.devices import shares
from gatehouse.flows.steps.workers.worker import TOPIC, Outcome, leave_here, work_here
from gatehouse.warehouse.errors import GatehouseError

SECONDS_TO_LEAVE = 3
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_UNTIL_SEEN = 60
"""How long a shared file system may take to show what another machine has written."""

Order = TypeVar("Order", int, str)
"""What a worker is told to do at once, as a number or as JSON."""


@dataclass(frozen=True)
class Work(Generic[Order]):
    """What workers do, the same for every order.

    Attributes:
        name: of the work, by which a scheduler's pages list its orders.
        packed: what a worker needs to open it, as JSON.
        open: called with that by a worker, once; gives what carries out an order, and returns its
            answer. A worker finds it by its module, which the scheduler imports too: it imports
            nothing heavy.
        done: verb, in the past tense.
        noun: what an order is of, in words.
        place: where the answer to an order lies, if it lies somewhere.
        is_there: whether this machine sees there what a worker has landed.
        less: what to do if memory ran out.
    """

    name: str
    packed: str
    open: Callable[[str], AbstractContextManager[Callable[[Order], Any]]]
    done: str
    noun: Callable[[Order], str]
    place: object = None
    is_there: Callable[[Order], bool] = lambda order: True
    less: str = "use fewer --workers or a smaller --batch-size"


class Cluster:
    """Workers that are there.

    Args:
        client: Dask's, of their scheduler.
        check: called from time to time while nothing happens; it may raise what went wrong.
    """

    def __init__(self, client: Any, check: Callable[[], None]) -> None:
        self._client = client
        self._check = check

    @contextmanager
    def doing(
        self, work: Work[Order], orders: Collection[Order]
    ) -> Iterator[Callable[[Order], Any]]:
        """Let workers carry out orders in the block; the function that it yields waits for one.

        Args:
            work: which the orders are of.
            orders: all different, handed out in this order.

        Raises:
            GatehouseError: as the work does, from any worker; or workers that are not fit for it.
        """
        waiting = _Orders(self._client, work, list(orders), self._check)
        try:
            yield waiting.wait
        finally:
            waiting.give_up()


@contextmanager
def cluster(asked: Workers, device_map: str | None) -> Iterator[Cluster]:
    """Connect to workers for the block; those of this machine live as long as it.

    Args:
        asked: which workers.
        device_map: as the user named it, for workers of this machine.

    Raises:
        GatehouseError: there is no Dask, or nobody answers at the address.
    """
    own = shares(asked.number, device_map) if asked.number else []
    with client_of(asked, own) as (client, check):
        try:
            yield Cluster(client, check)
        finally:
            if asked.scheduler:
                _free_memory(client)


@contextmanager
def done_by_workers(
    asked: Workers, device_map: str | None, work: Work[Order], orders: Collection[Order]
) -> Iterator[Callable[[Order], Any]]:
    """Let workers that are connected for the block do all of one work, as `Cluster.doing`."""
    fewer = at_most(asked, len(orders))
    with cluster(fewer, device_map) as workers, workers.doing(work, orders) as wait:
        yield wait


def at_most(asked: Workers, orders: int) -> Workers:
    """Return the workers that are asked for, without those of this machine that would idle."""
    if asked.number is None or asked.number <= orders:
        return asked
    say(f"{orders} of {asked.number} workers: there is no work for more")
    return Workers(orders)


def _free_memory(client: Any) -> None:
    """Have workers, which live on, let go of the model."""
    until = time.monotonic() + SECONDS_TO_LEAVE
    with suppress(Exception):
        workers = client.scheduler_info(n_workers=-1)["workers"]
        left = [client.submit(leave_here, workers=[each], pure=False) for each in workers]
        for each in left:
            each.result(timeout=max(until - time.monotonic(), 0))


class _Orders(Generic[Order]):
    """Orders that workers carry out.

    Args:
        client: of the cluster.
        work: whose they are.
        orders: handed out as they stand.
        check: called from time to time while nothing lands; it may raise what went wrong.
    """

    def __init__(
        self, client: Any, work: Work[Order], orders: Sequence[Order], check: Callable[[], None]
    ) -> None:
        self._client = client
        self._work: Work[Order] = work
        self._check = check
        self._changed = threading.Condition()
        self._answers: dict[Order, Any] = {}
        self._failure: BaseException | None = None
        self._said: set[str] = set()
        context = contextvars.copy_context()
        client.subscribe_topic(TOPIC, lambda event: context.run(self._say_once, event[1]))
        begun = time.time_ns()
        self._futures: dict[Order, Any] = {
            order: client.submit(
                work_here,
                work.open,
                work.packed,
                order,
                key=f"{work.name}-{number}-{begun}",
                priority=-number,
            )
            for number, order in enumerate(orders)
        }
        for order, future in self._futures.items():
            future.add_done_callback(partial(self._done, order))

    def wait(self, order: Order) -> Any:
        """Wait until an order is carried out, and return its answer.

        Raises:
            GatehouseError: any order was refused, or the workers or the scheduler have gone.
        """

        def over() -> bool:
            return bool(order in self._answers or self._failure)

        with self._changed:
            while not self._changed.wait_for(over, timeout=SECONDS_BETWEEN_LOOKS):
                self._check()
        if self._failure:
            raise self._failure
        self._see(order)
        return self._answers[order]

    def give_up(self) -> None:
        """Take back the orders that no worker has begun."""
        with suppress(Exception):
            self._client.unsubscribe_topic(TOPIC)
            self._client.cancel(list(self._futures.values()), force=True)

    def _done(self, order: Order, future: Any) -> None:
        answer = None
        failure: BaseException | None = None
        try:
            outcome: Outcome = future.result()
            answer = outcome["answer"]
            if outcome["refusal"] is not None:
                failure = GatehouseError(outcome["refusal"])
        except BaseException as error:
            did = f"{self._work.done} {self._work.noun(order)}"
            failure = explained(error, did, self._work.less)
        with self._changed:
            if failure:
                self._failure = self._failure or failure
            else:
                self._answers[order] = answer
            self._changed.notify_all()

    def _see(self, order: Order) -> None:
        """Wait until this machine sees what a worker says has landed.

        Raises:
            GatehouseError: it is in another folder.
        """
        until = time.monotonic() + SECONDS_UNTIL_SEEN
        while not self._work.is_there(order):
            if time.monotonic() > until:
                raise GatehouseError(
                    f"a worker has landed {self._work.noun(order)}, and {self._work.place} does "
                    f"not have it: {SHARED}"
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _say_once(self, line: str) -> None:
        # every worker loads the same model
        if line not in self._said:
            self._said.add(line)
            say(line)
