"""The flow runs that the worker of `gatehouse up` began: their processes, and what becomes of them.

A worker that is killed leaves the process of its run, which goes on by itself; a run whose process
is gone stays Running to the server, unless somebody says that it is over.
"""

from contextlib import suppress
from pathlib import Path
from uuid import UUID

import httpx
import psutil

from gatehouse.flows.console import say
from gatehouse.warehouse.plain_text import counted

FLOW_RUN, HOME = "PREFECT__FLOW_RUN_ID", "PREFECT_HOME"
"""What Prefect and `up` tell the process of a flow run in its environment."""


def processes_of(folder: Path) -> dict[UUID, list[psutil.Process]]:
    """Return flow run -> its processes on this machine, of those that a worker began.

    Args:
        folder: Prefect's home, as `up` gives it to the worker.
    """
    found: dict[UUID, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        # others' processes tell nothing
        with suppress(psutil.Error, OSError, ValueError):
            seen = process.environ()
            if seen.get(HOME) == str(folder) and FLOW_RUN in seen:
                found.setdefault(UUID(seen[FLOW_RUN]), []).append(process)
    return found


def close_all_but(alive: set[UUID], why: str) -> None:
    """Tell the server that runs which it takes for under way are over, if it answers.

    Args:
        alive: those that have a process.
        why: the message of their state.
    """
    # imports Prefect
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.states import Cancelled, StateType

    from gatehouse.flows.service.deployments import POOL

    under_way = FlowRunFilterStateType(
        any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    )
    with suppress(httpx.HTTPError, OSError), get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=under_way)),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        )
        over = [each for each in found if each.id not in alive]
        for each in over:
            client.set_flow_run_state(each.id, Cancelled(message=why), force=True)
        if over:
            say(f"{counted(len(over), 'flow run')} under way: {why}")
