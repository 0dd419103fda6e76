"""The formats that a run can be exported to."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gatehouse.reports.exports import events
from gatehouse.reports.exports.data_set import write_data_set
from gatehouse.reports.exports.fine_tuning import write_esft
from gatehouse.reports.exports.keep_list import write_keep_list
from gatehouse.reports.exports.loads import (
    write_count_tensor,
    write_counts,
    write_logical_counts,
)
from gatehouse.reports.exports.lookup_table import write_lookup_table
from gatehouse.reports.exports.rollouts import write_rollouts
from gatehouse.reports.exports.table_rule import OPTIONS
from gatehouse.reports.marts.runs import resolve_run
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically, write_folder_atomically
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output_file, check_output_folder

Write = Callable[..., None]
"""Takes a session, the run's id, the place to write, and as keywords the options it `takes`."""


@dataclass(frozen=True)
class Export:
    """A format.

    description: what reads it, and what it holds.
    file: the name of its file.
    write: writes a run to a file.
    by_suffix: suffix of another file's name -> what writes that.
    is_folder: whether it is a folder.
    takes: the options it knows beside the others.
    needs: how the one of them is given that it cannot do without, if there is one.
    """

    description: str
    file: str
    write: Write
    by_suffix: Mapping[str, Write] = field(default_factory=dict)
    is_folder: bool = False
    takes: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)


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
    "ktransformers": Export(
        "ktransformers: the same as a tensor, which experts lie on the GPU",
        "logical_count.pt",
        write_count_tensor,
    ),
    "esft": Export(
        "ESFT: the experts to train, by token share up to 0.2", "expert_cfg.json", write_esft
    ),
    "keep-list": Export(
        "pruning: the experts to keep, by REAP, gate mass or load",
        "keep_list.json",
        write_keep_list,
        takes=("keep",),
        needs={"keep": "a number of experts of each layer, or a share of them as 0.75"},
    ),
    "lookup-table": Export(
        "safetensors: the experts of each token id that goes to the same ones nearly always",
        "table.safetensors",
        write_lookup_table,
        takes=OPTIONS,
    ),
    "r3": Export(
        "slime, miles: rollouts with the experts of each token", "rollout_0.pt", write_rollouts
    ),
    "events": Export(
        "pandas, polars, R: all events in one file, Parquet or, by its suffix, Arrow",
        "events.parquet",
        events.write_events,
        {
            ".arrow": events.write_arrow_file,
            ".feather": events.write_arrow_file,
            ".arrows": events.write_arrow_stream,
        },
    ),
    "huggingface": Export(
        "datasets: a folder of Parquet files with a card, configurations and splits",
        "huggingface",
        write_data_set,
        is_folder=True,
    ),
}
"""What `gatehouse export --to` takes, in the order of its list."""


FILES_OF_DATA = frozenset(
    f".{name}"
    for name in (
        *("arrow", "arrows", "csv", "feather", "ipc", "json", "jsonl", "npy", "npz", "parquet"),
        *("pkl", "pt", "pth", "safetensors", "tsv", "txt", "xlsx"),
    )
)
"""Suffixes that say what a file holds: a file of another format must not have them."""


def _check_file(format: str, chosen: Export, target: Path) -> None:
    """Refuse a name that another program would take for another format."""
    suffix = target.suffix.lower()
    fitting = [Path(chosen.file).suffix, *chosen.by_suffix]
    if suffix in FILES_OF_DATA - {*fitting}:
        raise GatehouseError(
            f"--to {format} does not write {suffix} files: name --output with "
            f"{' or '.join(dict.fromkeys(fitting))}"
        )


def export(
    run_id: str | None, format: str, paths: Paths, output: Path | None, **options: Any
) -> Path:
    """Write a run in a format; return the file or folder.

    Args:
        run_id: the run; None for the latest one with events.
        format: of EXPORTS.
        paths: the warehouse.
        output: the file or folder; None for one in the run's results.
        options: those of the format, by their names; None for one that is not given.

    Raises:
        GatehouseError: there is no such run or format, an option is not of the format, the run
            does not tell what the format holds, or the file belongs to the warehouse.
    """
    if format not in EXPORTS:
        raise GatehouseError(f"no export is called {format!r}: name one of {', '.join(EXPORTS)}")
    chosen = EXPORTS[format]
    given = {name: value for name, value in options.items() if value is not None}
    _check_options(format, chosen, given)
    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, run_id)
        own = paths.results(run_id)
        target = output or own / chosen.file
        write = partial(
            chosen.by_suffix.get(target.suffix.lower(), chosen.write),
            connection,
            run_id,
            **given,
        )
        if chosen.is_folder:
            check_output_folder(target, (), paths, own)
            # nothing but what an earlier export wrote is replaced, of the run's other results too
            if output and output.is_dir() and any(output.iterdir()):
                raise GatehouseError(f"{output} holds other files: name a new or an empty folder")
            write_folder_atomically(target, write)
        else:
            check_output_file(target, paths, own)
            _check_file(format, chosen, target)
            write_atomically(target, write)
    return target


def _check_options(format: str, chosen: Export, given: Mapping[str, Any]) -> None:
    for name, how in chosen.needs.items():
        if name not in given:
            raise GatehouseError(f"--to {format} needs --{_spelled(name)}: {how}")
    for name in given:
        if name not in chosen.takes:
            raise GatehouseError(f"--{_spelled(name)} is not for --to {format}: leave it out")


def _spelled(name: str) -> str:
    return name.replace("_", "-")


def listed() -> str:
    """Return a line for each format."""
    width = max(map(len, EXPORTS))
    return "\n".join(f"{name:<{width}}  {each.description}" for name, each in EXPORTS.items())
