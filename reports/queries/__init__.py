"""The only SQL in reports: one function per need, over the marts that dbt builds."""

from reports.queries.marts import block_routing, marts, run_overlap, sweep
from reports.queries.runs import (
    check_layer,
    finished_runs,
    layers,
    resolve_run,
    routing_statistics,
    run_summary,
)

__all__ = [
    "block_routing",
    "check_layer",
    "finished_runs",
    "layers",
    "marts",
    "resolve_run",
    "routing_statistics",
    "run_overlap",
    "run_summary",
    "sweep",
]
