"""Samples that other runs of the same model have landed: taken over instead of captured again."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events, parts_of
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import (
    EVENTS,
    EVENTS_WITH_NORMS,
    SAMPLE_COLUMNS,
    SAMPLES,
    VOCABULARY,
    RunSpec,
)
from gatehouse.warehouse.runs.layout import SHARD_TABLES
from gatehouse.warehouse.runs.shards import columns_of
from gatehouse.warehouse.storage.addresses import Place
from gatehouse.warehouse.storage.places import storage_of
from gatehouse.warehouse.tables import Content, read_table

OF_THE_TEXT = {"dataset", "dataset_fingerprint", "first_sample", "num_samples"}
"""Fields of a run's identity that may differ: which samples are the same is seen one by one."""

AS_CAPTURED = {"versions", "device"}
"""Besides the identity, what must be the same: rounding may follow from it."""


@dataclass(frozen=True)
class Source:
    """A landed shard of another run, and its row of `shards`."""

    run_id: str
    shard: int
    row: dict[str, Any]

    def holds(self, first: int, last: int) -> bool:
        """Return whether it can have samples from `first` to `last`."""
        begin = self.row["first_sample"]
        return bool(begin <= last and first < begin + self.row["samples"])

    def is_whole(self, lake: Lake) -> bool:
        """Return whether its files are, byte for byte, as they were recorded."""
        files = {each: lake.shard_file(each, self.run_id, self.shard) for each in SHARD_TABLES}
        return all(
            Content.of(path).sha256 == self.row[f"{each}_sha256"] for each, path in files.items()
        )


def take_over(
    lake: Lake,
    run_id: str,
    record: dict[str, Any],
    pending: Collection[int],
    samples_of: Callable[[int], pa.Table],
) -> dict[int, set[str]]:
    """Land the pending shards whose samples other runs have all landed; return shard -> those runs.

    A shard that another run has is linked (or copied, between disks): its bytes are the same. One
    whose samples are spread over several shards is put together: its events are those that its own
    capture would give to within the rounding of other batches (docs/exactness.md).

    Args:
        lake: where the runs are; the caller holds the run's lock, alone or with others.
        run_id: the run to land shards of; it is described like the others if it is not yet.
        record: its row of `runs`.
        pending: its shards that have not landed.
        samples_of: shard -> its samples, columns SAMPLE_COLUMNS.

    Raises:
        GatehouseError: the lake cannot be written.
    """
    taken: dict[int, set[str]] = {}
    sources = _sources(lake, run_id, record)
    for shard in pending if sources else ():
        wanted = samples_of(shard)
        ids = wanted["sample_id"]
        first, last = ids[0].as_py(), ids[-1].as_py()
        near = [source for source in sources if source.holds(first, last)]
        # another run can be removed meanwhile: then its samples are captured
        with suppress(FileNotFoundError):
            if givers := _given(lake, run_id, record, shard, wanted, near):
                taken[shard] = givers
    return taken


def _sources(lake: Lake, run_id: str, record: dict[str, Any]) -> list[Source]:
    """Return the shards of runs that differ in their text only, the latest run's first."""
    same = ({field.name for field in fields(RunSpec)} - OF_THE_TEXT) | AS_CAPTURED
    found = []
    # a damaged table of another run is not this run's affair
    with suppress(GatehouseError):
        for other, row in reversed(lake.runs().items()):
            if other != run_id and all(row[name] == record[name] for name in same):
                rows = lake.shards.recorded(other)
                intact = lake.shards.intact(other, rows)
                found += [Source(other, shard, rows[shard]) for shard in intact]
    return found


def _given(
    lake: Lake,
    run_id: str,
    record: dict[str, Any],
    shard: int,
    wanted: pa.Table,
    near: list[Source],
) -> set[str]:
    """Land one shard; return the runs that had its samples, none if some are lacking."""
    rows = {row["sample_id"]: row for row in wanted.to_pylist()}
    parts: list[tuple[Source, pa.Table]] = []
    for source in near:
        there = read_table(lake.shard_file("samples", source.run_id, source.shard), SAMPLES)
        found = {row["sample_id"]: row for row in there.select(SAMPLE_COLUMNS).to_pylist()}
        kept = [number for number in rows if rows[number] == found.get(number)]
        if kept and source.is_whole(lake):
            parts.append((source, there.filter(pc.field("sample_id").isin(kept))))
            rows = {number: row for number, row in rows.items() if number not in set(kept)}
    if rows or not parts:
        return set()
    giver = parts[0][0]
    if not lake.is_described(run_id):
        vocabulary = read_table(lake.file("vocabulary", giver.run_id), VOCABULARY)
        lake.land_run(run_id, record, lake.layers(giver.run_id), vocabulary)
    if len(parts) == 1 and giver.row["samples"] == wanted.num_rows:
        with lake.locks.in_turn(run_id, shard):
            if not lake.shards.has_landed(run_id, shard):
                _link(lake, run_id, shard, giver)
    else:
        _put_together(lake, run_id, shard, parts)
    return {source.run_id for source, _ in parts}


def _link(lake: Lake, run_id: str, shard: int, giver: Source) -> None:
    written = {}
    for table in SHARD_TABLES:
        there = lake.shard_file(table, giver.run_id, giver.shard)
        here = lake.shard_file(table, run_id, shard)
        written[table] = lake.storage.publish(here, partial(_link_or_copy, there))
    lake.shards.add(run_id, giver.row | {"shard": shard} | columns_of(written))


def _link_or_copy(there: Place, here: Path) -> Content:
    with storage_of(there).on_disk(there) as file:
        try:
            os.link(file, here)
        except FileNotFoundError:
            raise
        except OSError:
            # another disk, or one without links
            shutil.copyfile(file, here)
    # what was found whole may have been captured again since
    return Content.of(here)


def _put_together(
    lake: Lake, run_id: str, shard: int, parts: list[tuple[Source, pa.Table]]
) -> None:
    layers, seconds, sources = lake.layers(run_id).num_rows, 0.0, []
    samples = pa.concat_tables(samples for _, samples in parts).sort_by("sample_id")
    for source, theirs in parts:
        events = layers * (pc.sum(theirs["tokens"]).as_py() or 0)
        seconds += source.row["seconds"] * events / max(1, source.row["events"])
        if events:
            path = lake.shard_file("events", source.run_id, source.shard)
            sources.append((Events.in_file(path), theirs["sample_id"]))
    tokens = pc.sum(samples["tokens"]).as_py() or 0
    schema = EVENTS_WITH_NORMS if lake.has_output_norms(run_id) else EVENTS
    merged = Events(tokens * layers, lambda: _merged(sources), schema)
    lake.land_shard(run_id, shard, samples, merged, seconds=seconds, again=False)


def _merged(sources: list[tuple[Events, pa.ChunkedArray]]) -> Iterator[pa.Table]:
    """Yield the events of some samples of each source, a layer of all of them at a time."""
    grouped = [groupby(events, lambda part: part["layer"][0].as_py()) for events, _ in sources]
    for layers in zip(*grouped, strict=True):
        of_layer = pa.concat_tables(
            part.filter(pc.is_in(part["sample_id"], sample_ids))
            for (_, parts), (_, sample_ids) in zip(layers, sources, strict=True)
            for part in parts
        )
        ordered = of_layer.sort_by([(name, "ascending") for name in ("sample_id", "position")])
        yield from parts_of(ordered.combine_chunks())
