"""Counts of experts in the lake: a run without samples and events."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gatehouse.flows.console import say, working
from gatehouse.flows.steps.import_trace import (
    ImportRequest,
    described_files,
    files_of,
    layout_of,
    record_of,
    spec_of,
)
from gatehouse.ingest.traces.counts import ExpertCounts
from gatehouse.ingest.traces.formats import COUNTS as FORMAT
from gatehouse.models.checkpoint.described import Description, describe
from gatehouse.warehouse.errors import BrokenLaw, GatehouseError
from gatehouse.warehouse.files import sha256_of
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import name_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import COUNTED, COUNTS, LAYERS, VOCABULARY, RunSpec


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
    with working(f"looking at {request.model}"):
        described = describe(request.model, request.revision, request.trust_remote_code)
    files = [path for given in request.files for path in files_of(given, FORMAT)]
    with working("checking the counts"):
        _check_differ(files)
        counts = FORMAT.read(files, layout_of(described))
    if counts.note:
        say(counts.note)
    session = _Session(request, described, described_files(files), counts, Lake(paths.lake))
    with session.lake.writing(session.run_id):
        session.lake.remove_leftovers(session.run_id)
        return session.land()


def _check_differ(files: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in files:
        same = seen.setdefault(sha256_of(path), path)
        if same is not path:
            raise GatehouseError(
                f"{path} holds the same as {same}, and would count twice: give it once"
            )


@dataclass(frozen=True)
class _Session:
    request: ImportRequest
    described: Description
    source_files: str
    counts: ExpertCounts
    lake: Lake

    @cached_property
    def spec(self) -> RunSpec:
        return spec_of(self.request, self.described, self.source_files, num_samples=0, max_length=1)

    @property
    def run_id(self) -> str:
        return self.spec.run_id

    def land(self) -> CountsSummary:
        if not self.lake.is_described(self.run_id):
            record = record_of(self.spec, COUNTED, self.source_files)
            vocabulary = pa.Table.from_pylist(self.described.vocabulary, schema=VOCABULARY)
            self.lake.land_run(self.run_id, record, self._layers(), vocabulary)
        if self.request.name:
            name_run(self.lake.root, self.run_id, self.request.name)
        if self._have_landed():
            say(f"{self.run_id} is finished: nothing to import")
        else:
            self.lake.land_counts(self.run_id, self._table())
            record = self._record()
            self.lake.update_run(
                self.run_id, record | {"finished_at": max(datetime.now(UTC), record["started_at"])}
            )
        return CountsSummary(
            run_id=self.run_id,
            moe_layers=len(self.described.layers),
            selections=int(sum(each.sum() for each in self.counts.selections)),
        )

    def _have_landed(self) -> bool:
        try:
            self.lake.counts(self.run_id)
        except BrokenLaw:
            return False
        return self._record()["finished_at"] is not None

    def _record(self) -> dict[str, Any]:
        record = self.lake.run_record(self.run_id)
        assert record is not None
        return record

    def _layers(self) -> pa.Table:
        told = {
            "weights_sum_to_one": None,
            "has_weights": False,
            "has_distribution": False,
            "ranked": False,
        }
        return pa.Table.from_pylist([row | told for row in self.described.layers], schema=LAYERS)

    def _table(self) -> pa.Table:
        selections = self.counts.selections
        sizes = [len(each) for each in selections]
        columns = {
            "layer": np.repeat([row["layer"] for row in self.described.layers], sizes),
            "expert": np.concatenate([np.arange(size) for size in sizes]),
            "selections": np.concatenate(selections),
        }
        return pa.table(columns).cast(COUNTS)
