"""The only SQL in reports: one function per need, over the marts that dbt builds."""

from gatehouse.reports.marts.caches import load_windows
from gatehouse.reports.marts.frames import Marts, block_routing, read_marts
from gatehouse.reports.marts.pairs import (
    Flips,
    Loads,
    Pair,
    run_flips,
    run_loads,
    run_overlap,
    run_pair,
)
from gatehouse.reports.marts.runs import (
    check_layer,
    finished_runs,
    layers,
    resolve_run,
    routing_statistics,
    run_summary,
    threshold_grid,
)
from gatehouse.reports.marts.untold import untold_by_run

__all__ = [
    "Flips",
    "Loads",
    "Marts",
    "Pair",
    "block_routing",
    "check_layer",
    "finished_runs",
    "layers",
    "load_windows",
    "read_marts",
    "resolve_run",
    "routing_statistics",
    "run_flips",
    "run_loads",
    "run_overlap",
    "run_pair",
    "run_summary",
    "threshold_grid",
    "untold_by_run",
]
