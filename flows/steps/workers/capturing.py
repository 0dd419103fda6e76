"""The shards of a run, captured by workers.

The scheduler imports this module too, which therefore imports nothing heavy.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatehouse.flows.steps.planned import PlannedRun


def captured_by_workers(
    run: "PlannedRun", pending: Collection[int]
) -> AbstractContextManager[Callable[[int], int]]:
    """Let workers capture shards in the block; the function that it gives waits for one.

    Args:
        run: which run; the request says which workers.
        pending: its shards, handed out in this order; the answer to one is its number of tokens.

    Raises:
        GatehouseError: as `capture` does, from any worker; there is no Dask, nobody answers at the
            address, or workers that are not fit for the run.
    """
    from gatehouse.flows.steps.workers.cluster import Work, done_by_workers
    from gatehouse.flows.steps.workers.work import packed

    asked = run.request.asked_workers
    assert asked
    work: Work[int] = Work(
        name=run.run_id,
        packed=packed(run),
        open=open_capture,
        done="captured",
        noun=lambda shard: f"shard {shard}",
        place=run.lake.root,
        is_there=lambda shard: run.lake.shards.has_landed(run.run_id, shard),
    )
    return done_by_workers(asked, run.request.device_map, work, pending)


@contextmanager
def open_capture(work: str) -> Iterator[Callable[[int], int]]:
    """Open a run that was packed, and give what captures a shard unless it has landed."""
    from gatehouse.flows.steps.shards import ShardCapture
    from gatehouse.flows.steps.workers.work import opened

    run = opened(work)

    with ShardCapture(run, shared=True) as here:

        def capture(shard: int) -> int:
            with run.lake.locks.sharing(run.run_id):
                # Dask gives a shard again if the worker that has landed it dies
                if not run.lake.shards.has_landed(run.run_id, shard):
                    here.take_over([shard])
                return here.capture(shard)

        yield capture
