"""Two runs of the warehouse side by side on one page."""

from contextlib import closing
from pathlib import Path

from gatehouse.reports.marts import Flips, resolve_run, run_flips, run_overlap
from gatehouse.reports.results.files import write_comparison
from gatehouse.reports.results.results import Bar, assess
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.paths import Paths, check_output


def compare(
    run_ids: tuple[str, str],
    thresholds: Thresholds,
    paths: Paths,
    bar: Bar,
    output: Path | None = None,
) -> tuple[Path, Flips | None]:
    """Write the HTML page that puts two runs side by side; return its file, and where they differ.

    The second is None where the runs share no text, or their experts are not the same.

    Raises:
        GatehouseError: there are no such runs, they are one, or the file belongs to the warehouse.
    """
    if output:
        check_output(output, paths)
    with closing(connect(paths)) as connection:
        first, second = (resolve_run(connection, run_id) for run_id in run_ids)
        if first == second:
            raise GatehouseError(f"--compare takes two different runs, not {first} twice")
        left = assess(connection, first, paths, thresholds, bar)
        right = assess(connection, second, paths, thresholds, bar)
        overlap = run_overlap(connection, first, second)
        flips = run_flips(connection, first, second)
    page = output or paths.comparison(first, second)
    return write_comparison(left, right, overlap, flips, page), flips
