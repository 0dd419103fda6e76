"""Gatehouse: the analytics warehouse for Mixture-of-Experts routing.

    import gatehouse

    print(gatehouse.run(dataset="./my-texts", layer="all"))     # text to report, as `gatehouse run`
    gatehouse.connect().sql("select * from fct_layer_routing")  # marts, events, your DataFrames
    with gatehouse.RoutingTap(model) as tap: ...                # a model's routing in your own loop

`gatehouse.capture(model=..., dataset=...)` lands one run in the lake without building anything.
The checkout is this package: its folders are `gatehouse.ingest`, `gatehouse.models`, and so on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatehouse.flows.prefect_run import run
    from gatehouse.flows.steps.capture import CaptureSummary
    from gatehouse.models.capture import RoutingTap
    from gatehouse.warehouse.notebook import connect

__all__ = ["RoutingTap", "capture", "connect", "run"]

HOMES = {
    "RoutingTap": "gatehouse.models.capture",
    "connect": "gatehouse.warehouse.notebook",
    "run": "gatehouse.flows.prefect_run",
}
"""The module of each other public name, imported when it is asked for: torch takes seconds."""


def capture(**parameters: Any) -> "CaptureSummary":
    """Land one run in the lake, or resume it, as `gatehouse capture` does; return what it holds.

    Args:
        parameters: the fields of `flows.request.RunRequest`, as keywords.

    Raises:
        GatehouseError: bad input, or routing that cannot be trusted.
    """
    from gatehouse.flows.request import RunRequest
    from gatehouse.flows.steps.capture import capture as capture_request
    from gatehouse.warehouse.paths import Paths

    return capture_request(RunRequest(**parameters), Paths.resolve())


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'gatehouse' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
