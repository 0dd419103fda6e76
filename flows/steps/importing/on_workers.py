"""A trace, checked and landed by workers.

The scheduler imports this module too, which therefore imports nothing heavy.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatehouse.flows.request import Workers
    from gatehouse.flows.steps.importing.trace import Trace
    from gatehouse.ingest.traces.pieces import Share
    from gatehouse.ingest.traces.sequence import Piece
    from gatehouse.ingest.traces.survey import Survey
    from gatehouse.warehouse.paths import Paths


class ImportWorkers:
    """Workers that are there, for one trace.

    Args:
        cluster: `workers.cluster.Cluster`.
        trace: how it is read.
        paths: the warehouse.
    """

    def __init__(self, cluster: Any, trace: "Trace", paths: "Paths") -> None:
        from gatehouse.flows.steps.workers.packing import places
        from gatehouse.warehouse.release import gatehouse_version

        self._cluster = cluster
        self._paths = paths
        versions = f"gatehouse {gatehouse_version()}"
        # workers that outlive a command open nothing of it for the next one
        begun = time.time_ns()
        work = {**places(paths), "versions": versions, "trace": trace.as_json(), "begun": begun}
        self._packed = json.dumps(work)

    def surveys(self, pieces: "Sequence[Piece]") -> "Iterator[Survey]":
        """Yield the survey of each piece; raises as `Trace.survey`, from any worker."""
        from gatehouse.flows.steps.workers.cluster import Work
        from gatehouse.ingest.traces.survey import of_json

        orders = [json.dumps({"survey": piece.as_json()}) for piece in pieces]
        work: Work[str] = Work(
            name="survey",
            packed=self._packed,
            open=open_import,
            done="read",
            noun=lambda order: f"piece {orders.index(order)} of the trace",
            less="use fewer --workers",
        )
        with self._cluster.doing(work, orders) as wait:
            for order in orders:
                yield of_json(wait(order))

    def land(self, shares: "Sequence[Share]", run_id: str) -> Iterator[list[int]]:
        """Yield the shards of each share as they have landed; raises as `Trace.land`."""
        from gatehouse.flows.steps.workers.cluster import Work
        from gatehouse.warehouse.lake import Lake

        lake = Lake(self._paths.lake)
        orders = {json.dumps({"land": each.as_json(), "run_id": run_id}): each for each in shares}
        work: Work[str] = Work(
            name=run_id,
            packed=self._packed,
            open=open_import,
            done="imported",
            noun=lambda order: f"shard {orders[order].cuts[0].number}",
            place=lake.root,
            is_there=lambda order: all(
                lake.shards.has_landed(run_id, cut.number) for cut in orders[order].cuts
            ),
            less="use fewer --workers",
        )
        with self._cluster.doing(work, list(orders)) as wait:
            for order in orders:
                yield wait(order)


@contextmanager
def import_workers(
    asked: "Workers", trace: "Trace", pieces: int, paths: "Paths"
) -> Iterator[ImportWorkers]:
    """Connect to workers for the block, in which they read a trace; none of them uses a GPU.

    Args:
        asked: which workers.
        trace: how it is read.
        pieces: how many it has.
        paths: the warehouse.

    Raises:
        GatehouseError: there is no Dask, or nobody answers at the address.
    """
    from gatehouse.flows.steps.workers.cluster import at_most, cluster

    with cluster(at_most(asked, pieces), "cpu") as workers:
        yield ImportWorkers(workers, trace, paths)


@contextmanager
def open_import(work: str) -> Iterator[Callable[[str], Any]]:
    """Open a trace that was packed, and give what surveys a piece of it, or lands a share.

    Raises:
        GatehouseError: this machine has another Gatehouse.
    """
    from gatehouse.flows.steps.importing.trace import trace_of_json
    from gatehouse.flows.steps.workers.packing import check_gatehouse, paths_of
    from gatehouse.ingest.traces.pieces import share_of_json
    from gatehouse.ingest.traces.sequence import Piece
    from gatehouse.warehouse.lake import Lake

    asked = json.loads(work)
    check_gatehouse(asked["versions"])
    trace, lake = trace_of_json(asked["trace"]), Lake(paths_of(asked).lake)

    def carry_out(order: str) -> Any:
        told = json.loads(order)
        if "survey" in told:
            piece = Piece.of_json(told["survey"])
            _see([piece])
            return trace.survey(piece).as_json()
        share, run_id = share_of_json(told["land"]), told["run_id"]
        _see(share.pieces)
        with lake.locks.sharing(run_id):
            return list(trace.land(share, lake, run_id, again=False))

    yield carry_out


def _see(pieces: "Sequence[Piece]") -> None:
    """Make sure that this machine has the files of pieces.

    Raises:
        GatehouseError: it does not.
    """
    from gatehouse.flows.steps.workers.connection import unseen

    for piece in pieces:
        for path in piece.paths:
            if not path.exists():
                raise unseen(path)
