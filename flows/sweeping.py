"""`gatehouse validate --sweep`: every run, MoE layer and pair of thresholds in the warehouse."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pandas as pd

from flows.console import bar, shown
from reports import queries
from reports.sweep import correlations, summary
from reports.sweep import sweep as swept
from warehouse.connect import connect
from warehouse.errors import GatehouseError
from warehouse.files import write_atomically
from warehouse.paths import Paths


def sweep(
    run_id: str | None, layer: int | None, paths: Paths, output: Path | None
) -> tuple[str, bool]:
    """Write the verdict at every pair of thresholds as CSV; see `flows.commands.sweep`."""
    with closing(connect(paths)) as connection:
        chosen = queries.resolve_run(connection, run_id) if run_id else None
        grid = queries.sweep(connection, chosen)
        runs, found = grid["run_id"].unique(), []
        with bar("correlating runs", len(runs)) as moved:
            for each in runs:
                tokens = queries.routing_statistics(connection, each, None)
                found.append(correlations(each, tokens))
                moved(len(found))
    if grid.empty:
        raise GatehouseError("no run has finished: `gatehouse status` shows what is captured")
    table = swept(grid, found)
    if layer is not None:
        known = sorted(table["layer"].unique())
        table = table[table["layer"] == layer]
        if table.empty:
            raise GatehouseError(
                f"there is no MoE layer {layer}: the runs have {', '.join(map(str, known))}"
            )
    target = output or paths.sweep
    write_atomically(target, partial(_write, table))
    supported = bool(table["verdict"].eq("SUPPORTED").any())
    return f"{summary(table).to_string(index=False)}\n\n{shown(target)}", supported


def _write(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)
