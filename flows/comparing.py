"""`gatehouse report --compare RUN RUN`: two runs of the warehouse side by side on one page."""

from contextlib import closing
from pathlib import Path

from flows.outputs import assess, page_of
from reports import outputs, queries
from reports.assessment import Thresholds
from warehouse.connect import connect
from warehouse.errors import GatehouseError
from warehouse.paths import Paths


def compare(
    run_ids: tuple[str, str], thresholds: Thresholds, paths: Paths, output: Path | None
) -> Path:
    """Write the page of two runs; see `flows.commands.compare`."""
    with closing(connect(paths)) as connection:
        left, right = (queries.resolve_run(connection, run_id) for run_id in run_ids)
        if left == right:
            raise GatehouseError(f"--compare takes two different runs, not {left} twice")
        pages = [page_of(assess(connection, run_id, thresholds)) for run_id in (left, right)]
        overlap = queries.run_overlap(connection, left, right)
    target = output or paths.comparison(left, right)
    return outputs.write_comparison(pages[0], pages[1], overlap, target)
