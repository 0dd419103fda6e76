"""A run's shards, captured by the workers of a Dask cluster; this process waits for them."""

import contextvars
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from gatehouse.flows.console import say
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.planned import PlannedRun
from gatehouse.flows.steps.workers.devices import shares
from gatehouse.flows.steps.workers.settings import dask
from gatehouse.flows.steps.workers.work import SHARED, packed
from gatehouse.flows.steps.workers.worker import TOPIC, Outcome, capture_here, leave_here
from gatehouse.warehouse.errors import GatehouseError

SECONDS_TO_ANSWER = 5
SECONDS_TO_LEAVE = 3
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_UNTIL_SEEN = 60
"""How long a shared file system may take to show what another machine has written."""

GONE = (
    "the Dask scheduler has gone: start it again; what has landed stays, and the same command "
    "resumes from there"
)


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
    with dask(own=run.request.scheduler is None), _connected(run.request) as (client, check):
        shards = _Shards(client, run, pending, check)
        try:
            yield shards.wait
        finally:
            shards.give_up()


def _connected(request: RunRequest) -> Any:
    from gatehouse.flows.steps.workers.local import local_cluster

    if request.scheduler is None:
        assert request.workers
        return local_cluster(shares(request.workers, request.device_map))
    return _remote(request.scheduler)


@contextmanager
def _remote(address: str) -> Iterator[tuple[Any, Callable[[], None]]]:
    from distributed import Client, wait

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
        # a model would stay in the memory of every worker
        with suppress(Exception):
            workers = client.scheduler_info(n_workers=-1)["workers"]
            left = [client.submit(leave_here, workers=[each], pure=False) for each in workers]
            wait(left, timeout=SECONDS_TO_LEAVE)


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
            failure = explained(shard, error)
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


def explained(shard: int, error: BaseException) -> BaseException:
    """Return the line for what Dask raises in place of a shard's tokens."""
    from distributed import CancelledError, KilledWorker

    if isinstance(error, CancelledError):
        return GatehouseError(GONE)
    if isinstance(error, KilledWorker):
        return GatehouseError(
            f"every worker that captured shard {shard} was killed, {error.allowed_failures + 1} of "
            "them: if memory ran out, use fewer --workers or a smaller --batch-size"
        )
    words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if isinstance(error, ImportError | AttributeError) or "deserialization" in words:
        return GatehouseError(
            f"the cluster cannot run this Gatehouse ({words}): install the same packages for its "
            "scheduler and workers"
        )
    return error
