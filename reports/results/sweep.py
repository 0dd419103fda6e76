"""Every run, MoE layer and pair of thresholds in the warehouse, as one file."""

from contextlib import closing
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd

from gatehouse.reports.marts import (
    resolve_run,
    routing_statistics,
    run_summary,
    threshold_grid,
    untold_by_run,
)
from gatehouse.reports.marts.untold import A_VERDICT, nothing_to_validate
from gatehouse.reports.results.results import Bar
from gatehouse.reports.verdict.sweep import correlations, judged_grid, summary
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output


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
        A table of runs and layers, with the runs that were left out since their source does not
        tell what a verdict needs, and whether any of them is SUPPORTED somewhere.

    Raises:
        GatehouseError: there is no such run or layer, no run can have a verdict, or the file
            belongs to the warehouse.
    """
    check_output(target, paths, paths.results(run_id) if run_id else None)
    with closing(connect(paths)) as connection:
        last = resolve_run(connection, run_id)
        chosen = last if run_id else None
        without = _without_verdict(connection, chosen)
        grid = threshold_grid(connection, chosen)
        grid = grid[~grid["run_id"].isin(without)]
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
    shown = summary(table).to_string(index=False)
    if without:
        names = ", ".join(without)
        shown += f"\n\nleft out, as their traces do not tell what a verdict needs: {names}"
    return shown, bool(table["verdict"].eq("SUPPORTED").any())


def _without_verdict(connection: duckdb.DuckDBPyConnection, chosen: str | None) -> list[str]:
    """Return the runs that cannot have a verdict, and refuse where it is the only one."""
    untold = untold_by_run(connection)
    without = [run_id for run_id, things in untold.items() if A_VERDICT.intersection(things)]
    if chosen in without:
        run = run_summary(connection, chosen)
        raise GatehouseError(nothing_to_validate(run, untold[chosen]))
    if without and len(without) == len(untold):
        raise GatehouseError(
            "no run tells what a verdict needs (entropy, token ids and the order of the experts): "
            "`gatehouse report --run RUN` shows what a run has"
        )
    return [] if chosen else without


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)
