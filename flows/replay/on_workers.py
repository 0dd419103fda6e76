"""The parts of a replay, measured by workers.

The scheduler imports this module too, which therefore imports nothing heavy.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatehouse.flows.replay.parts import PartReplay
    from gatehouse.flows.replay.planned import Part, PlannedReplay


@contextmanager
def measured_by_workers(
    replay: "PlannedReplay", here: "PartReplay", pending: Sequence["Part"]
) -> "Iterator[Callable[[Part], int]]":
    """Let workers measure parts in the block; the function that it yields waits for one.

    Args:
        replay: which one; its request says which workers.
        here: as this process would do it.
        pending: its parts, handed out in this order.

    Raises:
        GatehouseError: as `PartReplay.measure`, from any worker; there is no Dask, nobody answers
            at the address, or workers that are not fit for the replay.
    """
    from gatehouse.flows.steps.workers.cluster import Work, done_by_workers

    request, parts = replay.request, {part.order: part for part in pending}
    asked = request.asked_workers
    assert asked
    work: Work[str] = Work(
        name=f"replay-{replay.run_id}",
        packed=_packed(replay, here),
        open=open_replay,
        done="replayed",
        noun=lambda order: f"the part from sample {parts[order].sample_ids[0]} on",
        place=replay.lake.root,
        is_there=lambda order: replay.landed.have(parts[order].keys),
    )
    with done_by_workers(asked, request.device_map, work, list(parts)) as wait:
        yield lambda part: wait(part.order)


def _packed(replay: "PlannedReplay", here: "PartReplay") -> str:
    """Return a replay as JSON: neither the model nor text."""
    from gatehouse.flows.steps.workers.packing import places
    from gatehouse.models.zoo import versions

    work = {
        **places(replay.paths),
        "run_id": replay.run_id,
        "request": asdict(replace(replay.request, workers=None, scheduler=None)),
        "database": str(replay.paths.database),
        "versions": versions(here.plan.quantization),
        # workers that outlive a command open nothing of it for the next one
        "begun": time.time_ns(),
    }
    return json.dumps(work)


@contextmanager
def open_replay(work: str) -> Iterator[Callable[[str], int]]:
    """Open a replay that was packed, and give what measures a part unless it has landed.

    Raises:
        GatehouseError: this machine does not see the home, or has other packages.
    """
    from gatehouse.flows.replay.parts import PartReplay
    from gatehouse.flows.replay.planned import PlannedReplay
    from gatehouse.flows.replay.request import ReplayRequest
    from gatehouse.flows.steps.workers.connection import unseen
    from gatehouse.flows.steps.workers.packing import check_gatehouse, check_packages, paths_of
    from gatehouse.models.zoo import versions

    asked = json.loads(work)
    check_gatehouse(asked["versions"])
    if not Path(asked["database"]).is_file():
        raise unseen(asked["database"])
    request = ReplayRequest(**asked["request"])
    with PlannedReplay(asked["run_id"], request, paths_of(asked)) as replay:
        here = PartReplay(replay)
        check_packages(asked["versions"], versions(here.plan.quantization))

        def measure(order: str) -> int:
            with replay.lake.locks.sharing(replay.run_id):
                return here.measure(replay.part_of(order))

        yield measure
