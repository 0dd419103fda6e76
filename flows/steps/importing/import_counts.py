"""Counts of experts in the lake: a run without samples and events."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from gatehouse.flows.console import say, working
from gatehouse.flows.steps.importing.imported_run import (
    ImportedRun,
    ImportRequest,
    described_files,
    layout_of,
)
from gatehouse.ingest.traces.formats import COUNTS as FORMAT
from gatehouse.warehouse.errors import BrokenLaw, GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import COUNTS

TOLD = {
    "weights_sum_to_one": None,
    "has_weights": False,
    "has_distribution": False,
    "ranked": False,
}
"""What counts tell of a layer."""


@dataclass(frozen=True)
class CountsSummary:
    """What an imported run of counts holds."""

    run_id: str
    moe_layers: int
    selections: int

    @property
    def line(self) -> str:
        """One sentence for people."""
        return (
            f"{self.run_id}: {counted(self.selections, 'selection')} of experts in "
            f"{counted(self.moe_layers, 'MoE layer')}, and no events: they tell of load, coverage "
            "and balance; `gatehouse build` adds them to the marts"
        )


def import_counts(request: ImportRequest, paths: Paths) -> CountsSummary:
    """Land the counts of some files, added up, as a run; nothing if they have landed.

    Args:
        request: which files, and of which model.
        paths: the warehouse.

    Raises:
        GatehouseError: no such model, a file that cannot be read, is given twice or breaks a law
            (nothing lands), or a disk that cannot be written.
    """
    described = request.described()
    files = request.files_in(FORMAT)
    with working("checking the counts"):
        source_files = described_files(files)
        _check_differ(files, source_files)
        counts = FORMAT.read(files, layout_of(described))
    if counts.note:
        say(counts.note)
    run = ImportedRun(request, described, source_files, 0, 1, Lake(paths.lake))
    with run.lake.locks.writing(run.run_id):
        run.lake.locks.remove_leftovers(run.run_id)
        _land(run, counts.selections)
    selections = int(sum(each.sum() for each in counts.selections))
    return CountsSummary(run.run_id, len(described.layers), selections)


def _check_differ(files: list[Path], source_files: str) -> None:
    seen: dict[str, Path] = {}
    for path, described in zip(files, json.loads(source_files), strict=True):
        same = seen.setdefault(described["sha256"], path)
        if same is not path:
            raise GatehouseError(
                f"{path} holds the same as {same}, and would count twice: give it once"
            )


def _land(run: ImportedRun, selections: list[np.ndarray]) -> None:
    run.describe([TOLD] * len(run.described.layers))
    if _have_landed(run):
        say(f"{run.run_id} is finished: nothing to import")
        return
    sizes = [len(each) for each in selections]
    columns = {
        "layer": np.repeat([row["layer"] for row in run.described.layers], sizes),
        "expert": np.concatenate([np.arange(size) for size in sizes]),
        "selections": np.concatenate(selections),
    }
    run.lake.land_counts(run.run_id, pa.table(columns).cast(COUNTS))
    run.lake.finish_run(run.run_id)


def _have_landed(run: ImportedRun) -> bool:
    try:
        run.lake.counts(run.run_id)
    except BrokenLaw:
        return False
    record = run.lake.run_record(run.run_id)
    return record is not None and record["finished_at"] is not None
