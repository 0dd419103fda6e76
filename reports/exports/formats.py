"""The formats that a run can be exported to."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from gatehouse.reports.exports.events import write_events
from gatehouse.reports.exports.fine_tuning import write_esft
from gatehouse.reports.exports.loads import write_counts, write_logical_counts
from gatehouse.reports.marts.runs import resolve_run
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import Paths, check_output


@dataclass(frozen=True)
class Export:
    """A format: what reads it, the name of its file, and what writes a run to a file."""

    description: str
    file: str
    write: Callable[[duckdb.DuckDBPyConnection, str, Path], None]


EXPORTS: dict[str, Export] = {
    "counts": Export(
        "NumPy: how often each expert was selected, [MoE layers, E]", "counts.npy", write_counts
    ),
    "eplb": Export("DeepSeek's EPLB: the same matrix, as its `weight`", "eplb.npy", write_counts),
    "sglang": Export(
        "SGLang: logical_count of all blocks, where experts lie at first",
        "logical_count.json",
        write_logical_counts,
    ),
    "esft": Export(
        "ESFT: the experts to train, by token share up to 0.2", "expert_cfg.json", write_esft
    ),
    "events": Export(
        "pandas, polars, R: all events in one Parquet file", "events.parquet", write_events
    ),
}
"""What `gatehouse export --to` takes, in the order of its list."""


def export(run_id: str | None, format: str, paths: Paths, output: Path | None) -> Path:
    """Write a run in a format; return the file.

    Args:
        run_id: the run; None for the latest one with events.
        format: of EXPORTS.
        paths: the warehouse.
        output: the file; None for one in the run's results.

    Raises:
        GatehouseError: there is no such run or format, the run does not tell what the format
            holds, or the file belongs to the warehouse.
    """
    if format not in EXPORTS:
        raise GatehouseError(f"no export is called {format!r}: name one of {', '.join(EXPORTS)}")
    chosen = EXPORTS[format]
    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, run_id)
        folder = paths.results(run_id)
        target = output or folder / chosen.file
        check_output(target, paths, folder)
        write_atomically(target, lambda place: chosen.write(connection, run_id, place))
    return target


def listed() -> str:
    """Return a line for each format."""
    width = max(map(len, EXPORTS))
    return "\n".join(f"{name:<{width}}  {each.description}" for name, each in EXPORTS.items())
