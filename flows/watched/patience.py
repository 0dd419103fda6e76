"""How long a flow waits: for its turn, for a hub that does not answer, for a step that hangs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from gatehouse.flows import prefect_settings
from gatehouse.flows.console import say
from gatehouse.warehouse.hub.causes import may_pass

CAPTURES = "gatehouse-capture"
"""The global concurrency limit that a capture takes a slot of, where the server has it."""

SECONDS_OF_A_LEASE = 60
"""How long the slot of a process that was killed stays taken."""

RETRIES: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [20, 120],
    "retry_condition_fn": lambda task, run, state: _is_worth_a_retry(state),
}
"""Options of a task that asks the hub: it waits for a network that broke off, for nothing else."""

SECONDS_OF_A_STEP = 6 * 3600
"""The longest that a step after the build may take: one that takes longer hangs."""

SECONDS_OF_A_NIGHT = 23 * 3600
"""The longest that a night may take: the next one finishes what it has not."""


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Capture in the block once no other flow of the server does, if it limits them."""
    if not (prefect_settings.somebody_watches() and _is_limited()):
        yield
        return
    with concurrency(CAPTURES, occupy=1, lease_duration=SECONDS_OF_A_LEASE):
        yield


def _is_limited() -> bool:
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(CAPTURES)
        except ObjectNotFound:
            return False
    return True


def _is_worth_a_retry(state: Any) -> bool:
    """Return whether a task failed of the network; a person at a terminal hears of it at once."""
    if not prefect_settings.somebody_watches():
        return False
    error = state.result(raise_on_failure=False)
    again = isinstance(error, BaseException) and may_pass(error)
    if again:
        say(f"{error}; it is tried again")
    return again
