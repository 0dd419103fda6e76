"""Two runs of the warehouse side by side on one page."""

from contextlib import closing
from pathlib import Path

from gatehouse.reports.marts import resolve_run, run_flips, run_loads, run_overlap
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
) -> tuple[Path, str | None]:
    """Write the HTML page that puts two runs side by side; return its file and a sentence.

    The sentence says how many tokens they route differently, else how much of their load they
    share; it is None where neither is compared.

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
        loads = run_loads(connection, first, second)
    page = output or paths.comparison(first, second)
    most_told = flips or loads
    sentence = most_told.sentence if most_told else None
    return write_comparison(left, right, overlap, flips, loads, page), sentence
