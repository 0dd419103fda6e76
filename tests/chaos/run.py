"""One run of the pipeline in a process of its own, killed where or when a point says.

The steps are those of `flows.pipeline.pipeline`, without Prefect's server.
"""

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatehouse.flows.console import bar
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps import build, capture
from gatehouse.reports.results import files, results
from gatehouse.reports.results.selection import Selection
from gatehouse.warehouse.paths import Paths
from tests.chaos.processes import Ended, Point, start, wait

BEGINNINGS = {
    "gatehouse.flows.steps.capture.prepare_samples": "prepare",
    "gatehouse.models.zoo.ModelPlan.load": "forward",
    "gatehouse.flows.steps.shards.read_shard": "forward",
    "gatehouse.warehouse.lake.Lake.land_run": "write",
    "gatehouse.warehouse.lake.Lake.land_shard": "write",
    "gatehouse.flows.steps.build.build": "build",
    "gatehouse.reports.results.results.open_results": "tables",
    "gatehouse.reports.results.files.write_figures": "figures",
    "gatehouse.reports.results.files.write_page": "page",
}
"""The functions whose calls begin each phase."""

PHASES = tuple(dict.fromkeys(BEGINNINGS.values()))


def build_steps(request: RunRequest, home: Path) -> None:
    """Prepare, capture and build."""
    capture.capture(request, Paths(home))
    build.build(Paths(home))


def steps(request: RunRequest, home: Path) -> None:
    """Do what the flow does, in its order."""
    paths = Paths(home)
    summary = capture.capture(request, paths)
    build.build(paths)
    selection = Selection(None, summary.run_id, request.moe_index, request.thresholds)
    found = results.open_results(selection, paths, bar)
    files.write_tables(found, paths)
    files.write_validation(found)
    files.write_page(found, files.write_figures(found), paths)


def run(
    request: RunRequest,
    home: Path,
    log: Path,
    *,
    threads: int = 1,
    point: Point | None = None,
    work: Callable[[RunRequest, Path], None] = steps,
) -> Ended:
    """Run the steps in a process group of their own, kill it where the point says, and wait."""

    def inside(mark: Callable[[str], None]) -> None:
        import torch

        torch.set_num_threads(threads)
        announce(mark)
        work(request, home)

    (ended,) = wait(start(inside, log, point))
    return ended


def announce(mark: Callable[[str], None]) -> None:
    """Have each phase's name marked when the phase begins."""
    now = ""

    def announced(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def beginning(*arguments: Any, **named: Any) -> Any:
            nonlocal now
            if phase != now:
                mark(phase)
            now = phase
            return function(*arguments, **named)

        return beginning

    for path, phase in BEGINNINGS.items():
        owner_path, name = path.rsplit(".", 1)
        owner = pkgutil.resolve_name(owner_path)
        setattr(owner, name, announced(getattr(owner, name), phase))
