"""A run's shards, captured by the workers of a Dask cluster; this process waits for them."""

import contextvars
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from gatehouse.flows.console import say
from gatehouse.flows.steps.planned import PlannedRun
from gatehouse.flows.steps.workers.connection import SHARED, client_of, explained
from gatehouse.flows.steps.workers.devices import shares
from gatehouse.flows.steps.workers.work import packed
from gatehouse.flows.steps.workers.worker import TOPIC, Outcome, capture_here, leave_here
from gatehouse.warehouse.errors import GatehouseError

SECONDS_TO_LEAVE = 3
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_UNTIL_SEEN = 60
"""How long a shared file system may take to show what another machine has written."""


@contextmanager
def captured_by_workers(
    run: PlannedRun, pending: Collection[int]
) -> Iterator[Callable[[int], int]]:
    """Let workers capture shards in the block; the function that it yields waits for one.

    Args:
        run: which run; the request says which workers.
        pending: its shards, handed out in this order.

    Raises:
        GatehouseError: as `capture` does, from any worker; there is no Dask, nobody answers at the
            address, or workers that are not fit for the run.
    """
    asked = run.request.asked_workers
    assert asked
    own = shares(asked.number, run.request.device_map) if asked.number else []
    with client_of(asked, own) as (client, check):
        shards = _Shards(client, run, pending, check)
        try:
            yield shards.wait
        finally:
            shards.give_up()
            if asked.scheduler:
                _free_memory(client)


def _free_memory(client: Any) -> None:
    """Have workers, which live on, let go of the model."""
    until = time.monotonic() + SECONDS_TO_LEAVE
    with suppress(Exception):
        workers = client.scheduler_info(n_workers=-1)["workers"]
        left = [client.submit(leave_here, workers=[each], pure=False) for each in workers]
        for each in left:
            each.result(timeout=max(until - time.monotonic(), 0))


class _Shards:
    """Shards that workers capture.

    Args:
        client: of the cluster.
        run: whose they are.
        pending: their numbers.
        check: called from time to time while nothing lands; it may raise what went wrong.
    """

    def __init__(
        self, client: Any, run: PlannedRun, pending: Collection[int], check: Callable[[], None]
    ) -> None:
        self._client = client
        self._run = run
        self._check = check
        self._changed = threading.Condition()
        self._landed: dict[int, int] = {}
        self._failure: BaseException | None = None
        self._said: set[str] = set()
        context = contextvars.copy_context()
        client.subscribe_topic(TOPIC, lambda event: context.run(self._say_once, event[1]))
        work = packed(run)
        self._futures = {
            shard: client.submit(
                capture_here,
                work,
                shard,
                key=f"{run.run_id}-{shard}-{time.time_ns()}",
                priority=-shard,
            )
            for shard in pending
        }
        for shard, future in self._futures.items():
            future.add_done_callback(partial(self._done, shard))

    def wait(self, shard: int) -> int:
        """Wait until a shard has landed, and return its number of tokens.

        Raises:
            GatehouseError: any shard was refused, or the workers or the scheduler have gone.
        """

        def over() -> bool:
            return bool(shard in self._landed or self._failure)

        with self._changed:
            while not self._changed.wait_for(over, timeout=SECONDS_BETWEEN_LOOKS):
                self._check()
        if self._failure:
            raise self._failure
        self._see(shard)
        return self._landed[shard]

    def give_up(self) -> None:
        """Take back the shards that no worker has begun."""
        with suppress(Exception):
            self._client.unsubscribe_topic(TOPIC)
            self._client.cancel(list(self._futures.values()), force=True)

    def _done(self, shard: int, future: Any) -> None:
        tokens = 0
        failure: BaseException | None = None
        try:
            outcome: Outcome = future.result()
            tokens = outcome["tokens"]
            if outcome["refusal"] is not None:
                failure = GatehouseError(outcome["refusal"])
        except BaseException as error:
            failure = explained(
                error,
                f"captured shard {shard}",
                "use fewer --workers or a smaller --batch-size",
            )
        with self._changed:
            if failure:
                self._failure = self._failure or failure
            else:
                self._landed[shard] = tokens
            self._changed.notify_all()

    def _see(self, shard: int) -> None:
        """Wait until this machine sees what a worker says has landed.

        Raises:
            GatehouseError: it is in another folder.
        """
        until = time.monotonic() + SECONDS_UNTIL_SEEN
        while not self._run.lake.has_landed(self._run.run_id, shard):
            if time.monotonic() > until:
                raise GatehouseError(
                    f"a worker has landed shard {shard}, and {self._run.lake.root} does not have "
                    f"it: {SHARED}"
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _say_once(self, line: str) -> None:
        # every worker loads the same model
        if line not in self._said:
            self._said.add(line)
            say(line)
