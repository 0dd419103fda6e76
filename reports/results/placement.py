"""Where a run's experts should lie on GPUs: what `gatehouse placement` prints and writes."""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gatehouse.reports.inference.placements import (
    Measured,
    Placements,
    placements,
    usual_gpus,
    windowed_loads,
)
from gatehouse.reports.marts import layers, load_windows, resolve_run
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.files import write_atomically
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.reserved import check_output_file


@dataclass(frozen=True)
class Machine:
    """What experts are placed on, and what else EPLB takes.

    gpus: None for the most, up to 8, that can share the experts.
    nodes: how many share the GPUs.
    groups: how many equal groups the experts form.
    redundant: replicas of a layer beyond one of each expert.
    """

    gpus: int | None = None
    nodes: int = 1
    groups: int = 1
    redundant: int = 0


def place(run_id: str | None, machine: Machine, paths: Paths, output: Path | None) -> str:
    """Return what placing a run's experts is worth as text; write the placement as JSON.

    Args:
        run_id: the run; None for the latest one with events.
        machine: what they are placed on.
        paths: the warehouse.
        output: the file to write; None for none.

    Raises:
        GatehouseError: there is no such run, its layers have different numbers of experts, the
            numbers do not divide each other, or the file belongs to the warehouse.
    """
    if output is not None:
        check_output_file(output, paths, paths.results(run_id) if run_id else None)
    with closing(connect(paths)) as connection:
        run_id = resolve_run(connection, run_id)
        of_run, windows = layers(connection, run_id), load_windows(connection, run_id)
    numbers = of_run["num_experts"].unique()
    if len(numbers) > 1:
        raise GatehouseError(
            f"{run_id} has layers of {min(numbers)} to {max(numbers)} experts, which no one "
            "placement is for: query fct_expert_load_window with `gatehouse sql`"
        )
    found = placements(
        windowed_loads(windows, len(of_run), int(numbers[0])),
        usual_gpus(int(numbers[0])) if machine.gpus is None else machine.gpus,
        machine.nodes,
        machine.groups,
        machine.redundant,
    )
    if output is not None:
        text = json.dumps(_document(run_id, machine, found, of_run)) + "\n"
        write_atomically(output, lambda place: place.write_text(text, encoding="utf-8"))
    return f"{_heading(run_id, machine, found)}\n\n{_table(found)}\n\n{found.advice}"


def _document(
    run_id: str, machine: Machine, found: Placements, of_run: pd.DataFrame
) -> dict[str, Any]:
    rows = zip(of_run["layer"], found.placement.experts, found.placement.replicas, strict=True)
    return {
        "run_id": run_id,
        "placed_by": _placed_by(found),
        "num_experts": found.placement.num_experts,
        "gpus": found.placement.gpus,
        "nodes": machine.nodes,
        "groups": machine.groups,
        "replicas": found.placement.experts.shape[1],
        "layers": [
            {"layer": int(layer), "phy2log": experts.tolist(), "logcnt": counts.tolist()}
            for layer, experts, counts in rows
        ],
    }


def _placed_by(found: Placements) -> str:
    return "train" if found.loads.by_train else "all"


def _heading(run_id: str, machine: Machine, found: Placements) -> str:
    count, places = found.placement.experts.shape
    size = f"{count} MoE layer{'s' if count > 1 else ''} of {found.placement.num_experts} experts"
    number = found.placement.gpus
    gpus = f"{number} GPU{'s' if number > 1 else ''}"
    nodes = f" of {machine.nodes} nodes" if machine.nodes > 1 else ""
    text = "the train split" if found.loads.by_train else "all its text, as no split is known"
    lines = [f"{run_id}: {size} in {places} places on {gpus}{nodes}, placed by {text}"]
    if machine.nodes > 1 and machine.groups % machine.nodes:
        lines.append(
            f"{machine.nodes} nodes cannot share {machine.groups} "
            f"group{'s' if machine.groups > 1 else ''} equally: any expert may lie on any GPU"
        )
    if found.loads.held_out is None:
        lines.append("nothing is held out: the balance is that of the text they were placed by")
    if not found.loads.windows.size:
        lines.append("the counts tell of no part of the text: there are no windows")
    return "\n".join(lines)


def _table(found: Placements) -> str:
    columns = {"EPLB": found.eplb, "contiguous": found.contiguous, "random": found.random}
    rows = {name: _numbers(each, _placed_by(found)) for name, each in columns.items()}
    labels = list(rows["EPLB"])
    heading = "mean load of a GPU / highest"
    width = max(map(len, [heading, *labels]))
    lines = [f"{heading:<{width}}" + "".join(f"{name:>12}" for name in rows)]
    for label in labels:
        lines.append(f"{label:<{width}}" + "".join(f"{of[label]:>12.3f}" for of in rows.values()))
    return "\n".join(lines)


def _numbers(measured: Measured, placed_by: str) -> dict[str, float]:
    learned = {"train": "train split", "all": "all text"}[placed_by]
    found = {
        f"{learned}, all layers": measured.learned.overall,
        f"{learned}, worst layer": measured.learned.worst,
    }
    if measured.held_out is not None:
        found["held out, all layers"] = measured.held_out.overall
        found["held out, worst layer"] = measured.held_out.worst
    if measured.windows.size > 1:
        found[f"best of {measured.windows.size} windows of the text"] = measured.windows.max()
        found["median window"] = float(np.median(measured.windows))
        found["worst window"] = measured.windows.min()
    return found
