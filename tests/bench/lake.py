"""A lake of made-up routing, as large as asked for: Zipf tokens, skewed experts, documents.

MoE layers of one shape, 512-token documents of eight domains, a vocabulary of 32,000. A token has a
favourite expert in every layer, a document another, and the rest follows a skewed load, so that
every metric of the warehouse has something to find. An event's other experts are drawn at random:
of 8 out of 128, hardly two events have the same. Every run reads the same documents and has the
same favourites, so that runs can be compared; the rest depends on its seed.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.progress import track

from gatehouse.ingest.prepare import SHARD_SAMPLES
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import CAPTURED, EVENTS, LAYERS, RUNS, SAMPLES, VOCABULARY
from gatehouse.warehouse.runs.layout import TABLES
from gatehouse.warehouse.tables import read_table, write_table
from gatehouse.warehouse.upkeep.verification import RUN_TABLES

VOCABULARY_SIZE, LENGTH, DOMAINS = 32_000, 512, 8
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
RUN_ID = "made-up-a"
SIZES = {"10m": 10_000_000, "100m": 100_000_000}
"""Folder of a made-up lake in its home -> about how many events."""
SMALL, LARGE = SIZES
TEXT, FAVOURITES, ROUTING = range(3)
"""Kinds of random numbers, the first part of their seeds."""


@dataclass(frozen=True)
class Shape:
    """How many MoE layers a model has, how many experts each, and how many a token chooses."""

    num_layers: int
    num_experts: int
    top_k: int

    @property
    def events_in_a_sample(self) -> int:
        """Events of one document."""
        return LENGTH * self.num_layers


FEW, MANY = Shape(32, 8, 2), Shape(48, 128, 8)
"""Mixtral-8x7B's, and Qwen3-30B-A3B's."""


def lake_of(home: Path, events: int, seed: int = 0, shape: Shape = FEW) -> Path:
    """Return `home` with a finished run of about `events` events in its lake; land it if needed."""
    lake = Lake(home / "lake")
    samples = round(events / shape.events_in_a_sample)
    record = lake.run_record(RUN_ID)
    if record and record["finished_at"] and record["num_samples"] == samples:
        return home
    shards = land_run(lake, RUN_ID, samples, seed, shape)
    total = -(-samples // SHARD_SAMPLES)
    for _ in track(shards, f"landing {events:,} events in {home}", total, transient=True):
        pass
    return home


def linked(home: Path, runs: dict[str, Path]) -> Path:
    """Return `home` with made-up lakes' runs in its lake under these names; no shard is copied."""
    lake = Lake(home / "lake")
    for run_id, made in runs.items():
        theirs = Lake(made / "lake")
        for table in TABLES:
            folder = lake.folder(table, run_id)
            if not theirs.folder(table, RUN_ID).is_dir():
                continue  # only a run of counts has counts
            folder.parent.mkdir(parents=True, exist_ok=True)
            if theirs.file(table, RUN_ID).exists():
                found = read_table(theirs.file(table, RUN_ID), RUN_TABLES[table])
                write_table(lake.file(table, run_id), found)
            else:
                folder.symlink_to(theirs.folder(table, RUN_ID))
        shutil.copy(made / "lake" / "VERSION", home / "lake")
    return home


def land_run(
    lake: Lake, run_id: str, samples: int, seed: int = 0, shape: Shape = FEW
) -> Iterator[int]:
    """Land a finished run of `samples` samples; yield the number of events of each shard landed."""
    shards = -(-samples // SHARD_SAMPLES)
    lake.land_run(run_id, _record(samples, shards, finished=False), _layers(shape), _vocabulary())
    favourites = np.random.default_rng(FAVOURITES).integers(
        0, shape.num_experts, size=(shape.num_layers, VOCABULARY_SIZE)
    )
    for shard in range(shards):
        first = shard * SHARD_SAMPLES
        sample_ids = np.arange(first, min(first + SHARD_SAMPLES, samples))
        text = np.random.default_rng([TEXT, shard])
        generator = np.random.default_rng([ROUTING, seed, shard])
        tokens = _zipf_tokens(len(sample_ids) * LENGTH, text)
        lake.land_shard(
            run_id,
            shard,
            _samples(sample_ids),
            Events.of(_events(sample_ids, tokens, favourites, generator, shape)),
        )
        yield len(sample_ids) * shape.events_in_a_sample
    lake.update_run(run_id, _record(samples, shards, finished=True))


def _record(samples: int, shards: int, *, finished: bool) -> dict[str, object]:
    values: dict[str, object] = {f.name: "made up" for f in RUNS if pa.types.is_string(f.type)}
    values |= {f.name: 1 for f in RUNS if pa.types.is_integer(f.type)}
    return values | {
        "windows": False,
        "trust_remote_code": False,
        "shards": shards,
        "num_samples": samples,
        "max_length": LENGTH,
        "started_at": STARTED,
        "finished_at": STARTED + timedelta(hours=1) if finished else None,
        "capture_seconds": 3600.0,
    }


def _layers(shape: Shape) -> pa.Table:
    rows = [
        {
            "layer": layer,
            "moe_index": layer,
            "stack": "decoder",
            "block": layer,
            "router_path": f"layers.{layer}.gate",
            "scoring": "softmax",
            "num_experts": shape.num_experts,
            "top_k": shape.top_k,
            "weights_sum_to_one": True,
        }
        | CAPTURED
        for layer in range(shape.num_layers)
    ]
    return pa.Table.from_pylist(rows, schema=LAYERS)


def _vocabulary() -> pa.Table:
    tokens = range(VOCABULARY_SIZE)
    columns = [tokens, [f"token {token}" for token in tokens], [token < 3 for token in tokens]]
    return pa.table(dict(zip(VOCABULARY.names, columns, strict=True)), schema=VOCABULARY)


def _samples(sample_ids: np.ndarray) -> pa.Table:
    rows = [
        {
            "sample_id": int(sample),
            "name": f"document {sample}",
            "domain": f"domain {sample % DOMAINS}",
            "document": None,
            "split": ("train", "validation", "test")[max(int(sample) % 10 - 7, 0)],
            "tokens": LENGTH,
            "dropped_tokens": 0,
            "text_sha256": f"{sample:064x}",
            "document_sha256": f"{sample:064x}",
        }
        for sample in sample_ids
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLES)


def _events(
    sample_ids: np.ndarray,
    tokens: np.ndarray,
    favourites: np.ndarray,
    generator: np.random.Generator,
    shape: Shape,
) -> pa.Table:
    keys = {
        "sample_id": np.repeat(sample_ids, LENGTH),
        "position": np.tile(np.arange(LENGTH, dtype=np.uint32), len(sample_ids)),
        "token_id": tokens,
    }
    parts = [
        _layer(layer, keys, favourites[layer][tokens], generator, shape)
        for layer in range(shape.num_layers)
    ]
    return pa.concat_tables(parts)


def _zipf_tokens(count: int, generator: np.random.Generator) -> np.ndarray:
    cumulative = np.cumsum(1 / (np.arange(VOCABULARY_SIZE) + 2.7))
    drawn = np.searchsorted(cumulative / cumulative[-1], generator.random(count))
    return np.minimum(drawn, VOCABULARY_SIZE - 1).astype(np.int32)


def _layer(
    layer: int,
    keys: dict[str, np.ndarray],
    favourite: np.ndarray,
    generator: np.random.Generator,
    shape: Shape,
) -> pa.Table:
    count, num_experts = len(favourite), shape.num_experts
    document = (keys["sample_id"] * 5 + layer) % num_experts
    skewed = (num_experts * generator.random(count) ** 2).astype(np.int64)
    kind = generator.random(count)
    first = np.where(kind < 0.6, favourite, np.where(kind < 0.7, document, skewed))
    others = _distinct(num_experts - 1, shape.top_k - 1, count, generator)
    experts = np.column_stack([first, (first[:, None] + 1 + others) % num_experts])
    weight = generator.uniform(0.5, 1, size=count).astype(np.float16)
    middle = 0.3 + 1.2 * (keys["token_id"] * 37 % 101) / 101
    entropy = np.clip(middle + generator.normal(0, 0.15, size=count), 0, np.log(num_experts))
    offsets = pa.array(np.arange(0, shape.top_k * count + 1, shape.top_k, dtype=np.int32))
    # the others share what the first one leaves, each less than the one before
    shares = np.arange(shape.top_k - 1, 0, -1) / sum(range(shape.top_k))
    weights = np.column_stack([weight, (np.float16(1) - weight)[:, None] * shares])
    return pa.table(
        keys
        | {
            "layer": np.full(count, layer, np.int16),
            "experts": _lists(offsets, experts.astype(np.uint16)),
            "weights": _lists(offsets, weights.astype(np.float16)),
            "top_expert": experts[:, 0].astype(np.uint16),
            "entropy": entropy.astype(np.float32),
            "confidence": generator.uniform(0.3, 1, size=count).astype(np.float32),
        },
        schema=EVENTS,
    )


def _lists(offsets: pa.Array, rows: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(offsets, pa.array(rows.reshape(-1)))


def _distinct(total: int, chosen: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `count` rows of `chosen` different numbers below `total`, each set as likely."""
    rows = np.empty((count, chosen), np.int64)
    for place in range(chosen):
        # of those that are left, counted past the smaller ones that are taken
        number = generator.integers(0, total - place, size=count)
        for taken in np.sort(rows[:, :place], axis=1).T:
            number += number >= taken
        rows[:, place] = number
    return rows
