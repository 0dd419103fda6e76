"""What a worker process does with a shard that it is given.

Dask names functions by their modules, so these live here. The scheduler imports this module too,
which therefore imports nothing heavy.
"""

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypedDict

from gatehouse.flows import console
from gatehouse.warehouse.errors import GatehouseError

if TYPE_CHECKING:
    from gatehouse.flows.steps.planned import PlannedRun
    from gatehouse.flows.steps.shards import ShardCapture

TOPIC = "gatehouse"
"""Under which lines for the user go from workers to the command."""


class Outcome(TypedDict):
    """What became of a shard: its tokens, or the line that refuses it."""

    tokens: int
    refusal: str | None


class _Opened:
    """The run that this process captures shards of, with its model in memory."""

    def __init__(self) -> None:
        self.one_at_a_time = threading.Lock()
        self._tells = False
        self._work = ""
        self._run: PlannedRun | None = None
        self._shards: ShardCapture | None = None
        self._open = ExitStack()

    def capture(self, work: str, shard: int) -> int:
        """Capture a shard of the run unless it has landed; return its number of tokens."""
        if not self._tells:
            console.also_to(_tell)
            self._tells = True
        run, here = self._of(work)
        with run.lake.sharing(run.run_id):
            # Dask gives a shard again if the worker that has landed it dies
            if not run.lake.has_landed(run.run_id, shard):
                here.take_over([shard])
            return here.capture(shard)

    def _of(self, work: str) -> "tuple[PlannedRun, ShardCapture]":
        from gatehouse.flows.steps.shards import ShardCapture
        from gatehouse.flows.steps.workers.work import opened

        if self._run is None or self._shards is None or self._work != work:
            self.close()
            self._run = opened(work)
            self._shards = self._open.enter_context(ShardCapture(self._run, shared=True))
            self._work = work
        return self._run, self._shards

    def close(self) -> None:
        """Let go of the run and its model."""
        self._open.close()
        self._run = self._shards = None


_opened = _Opened()


def capture_here(work: str, shard: int) -> Outcome:
    """Capture one shard of a run in this process, which opens the run once.

    Args:
        work: of `work.packed`.
        shard: its number.
    """
    with _opened.one_at_a_time:
        try:
            return {"tokens": _opened.capture(work, shard), "refusal": None}
        except GatehouseError as error:
            return {"tokens": 0, "refusal": str(error)}


def leave_here() -> None:
    """Free the memory of this process: the command that it worked for has ended."""
    with _opened.one_at_a_time:
        _opened.close()


def _tell(line: str) -> bool:
    """Send a line to the command, where a task says it; it is shown in this process's log too."""
    from distributed import get_worker

    try:
        worker: Any = get_worker()
    except ValueError:
        return False
    worker.log_event(TOPIC, line)
    return False
