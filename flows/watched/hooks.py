"""What happens when a flow run has ended: an event that automations can wait for."""

from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.events import emit_event

from gatehouse.flows import prefect_settings

COMPLETED, FAILED = "gatehouse.run.completed", "gatehouse.run.failed"
WAY_ON = "what has landed stays, and the same run started again resumes from there"


def tell_completion(flow: Any, flow_run: FlowRun, state: State) -> None:
    """Emit `gatehouse.run.completed` with what the flow returned."""
    found = state.result(raise_on_failure=False)
    _emit(COMPLETED, flow_run, {"found": found if isinstance(found, str) else None})


def tell_failure(flow: Any, flow_run: FlowRun, state: State) -> None:
    """Emit `gatehouse.run.failed` with the line of the error and the way on."""
    _emit(FAILED, flow_run, {"why": state.message, "way_on": WAY_ON})


HOOKS: dict[str, Any] = {
    "on_completion": [tell_completion],
    "on_failure": [tell_failure],
    "on_crashed": [tell_failure],
}
"""Options of a flow."""


def _emit(event: str, flow_run: FlowRun, payload: dict[str, Any]) -> None:
    if not prefect_settings.somebody_watches():
        return
    emit_event(
        event=event,
        resource={
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.name": flow_run.name,
        },
        payload=payload,
    )
