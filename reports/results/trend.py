"""The page of the runs of one model, dataset and settings, one after the other."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gatehouse.reports.marts import resolve_run, run_summary
from gatehouse.reports.marts.trends import long_series, run_trend
from gatehouse.reports.page.runs.trend import render_trend
from gatehouse.reports.page.runs.trend_sentences import sentences
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output

Said = Callable[[str], None]


def write_trend(run_id: str | None, paths: Paths, say: Said, output: Path | None = None) -> Path:
    """Write the HTML page of a run's series; return its file.

    Args:
        run_id: one of its runs; None: the latest.
        paths: the warehouse.
        say: is told each sentence on what moved.
        output: the file; default: in the results, under the name of the series.

    Raises:
        GatehouseError: there is no such run, nothing of its routing is known, or the file belongs
            to the warehouse.
    """
    if output:
        check_output(output, paths)
    with closing(connect(paths)) as connection:
        resolved = resolve_run(connection, run_id)
        rows = run_trend(connection, resolved)
        run = run_summary(connection, resolved)
    if rows.empty:
        raise GatehouseError(
            f"{resolved} selected no expert in any layer, so it has no trend: name another --run"
        )
    for sentence in sentences(rows):
        say(sentence)
    page = output or paths.trend(rows["series"].iloc[0])
    html = render_trend(rows, run)
    write_atomically(page, lambda temporary: temporary.write_text(html, encoding="utf-8"))
    return page


def write_trends(paths: Paths, say: Said) -> list[Path]:
    """Write the page of every series with two runs or more; return their files."""
    with closing(connect(paths)) as connection:
        runs = long_series(connection)
    return [write_trend(run_id, paths, say) for run_id in runs]
