"""Every run, MoE layer and pair of thresholds in the warehouse, as one file."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pandas as pd

from gatehouse.reports.marts import resolve_run, routing_statistics, threshold_grid
from gatehouse.reports.results.results import Bar
from gatehouse.reports.verdict.sweep import correlations, judged_grid, summary
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import Paths, check_output


def sweep(
    run_id: str | None, layer: int | None, paths: Paths, bar: Bar, target: Path
) -> tuple[str, bool]:
    """Write the verdict at every pair of thresholds as CSV.

    Args:
        run_id: one run; None for all that the warehouse holds.
        layer: index among the MoE layers; None for all.
        paths: the warehouse.
        bar: shows how far it is.
        target: the file to write.

    Returns:
        A table of runs and layers, and whether any of them is SUPPORTED somewhere.

    Raises:
        GatehouseError: there is no such run or layer, or the file belongs to the warehouse.
    """
    check_output(target, paths, paths.results(run_id) if run_id else None)
    with closing(connect(paths)) as connection:
        chosen = resolve_run(connection, run_id) if run_id else None
        grid = threshold_grid(connection, chosen)
        runs, found = grid["run_id"].unique(), []
        with bar("correlating runs", len(runs)) as moved:
            for each in runs:
                found.append(correlations(each, routing_statistics(connection, each, None)))
                moved(len(found))
    if grid.empty:
        raise GatehouseError("no run has finished: `gatehouse status` shows what is captured")
    table = judged_grid(grid, found)
    if layer is not None:
        known = sorted(table["layer"].unique())
        table = table[table["layer"] == layer]
        if table.empty:
            raise GatehouseError(
                f"there is no MoE layer {layer}: the runs have {', '.join(map(str, known))}"
            )
    write_atomically(target, partial(_write, table))
    return summary(table).to_string(index=False), bool(table["verdict"].eq("SUPPORTED").any())


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)
