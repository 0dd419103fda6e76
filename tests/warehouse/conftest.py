"""A hand-made shard: two samples in two MoE layers of four experts."""

import math
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.records import CAPTURED, EVENTS, LAYERS, RUNS, SAMPLES, VOCABULARY

RUN = "tiny-texts-0123456789"


def table_file(lake: Lake, table: str, run_id: str = RUN) -> Path:
    """Return the file of a run in one of the lake's small tables, of `shards` its first shard's."""
    if table == "shards":
        return lake.shard_file(table, run_id, 0)
    return lake.file(table, run_id)


def sample_row(sample_id: int, tokens: int) -> dict:
    return {
        "sample_id": sample_id,
        "name": f"sample {sample_id}",
        "domain": "text",
        "document": None,
        "split": "train",
        "tokens": tokens,
        "dropped_tokens": 0,
        "text_sha256": "0" * 64,
        "document_sha256": "0" * 64,
        "prompt_tokens": tokens,
        "turns": None,
    }


def event_row(layer: int, sample_id: int, position: int) -> dict:
    expert = (layer + position) % 4
    return {
        "sample_id": sample_id,
        "position": position,
        "token_id": 10 + position,
        "layer": layer,
        "experts": [expert, (expert + 1) % 4],
        "weights": [0.75, 0.25],
        "top_expert": expert,
        "entropy": math.log(4) * (position + 1) / 4,
        "confidence": 0.5,
    }


@pytest.fixture
def layers() -> pa.Table:
    rows = [
        {
            "layer": layer,
            "moe_index": index,
            "stack": "decoder",
            "block": layer,
            "router_path": f"layers.{layer}.mlp.gate",
            "scoring": "softmax",
            "num_experts": 4,
            "top_k": 2,
            "weights_sum_to_one": True,
        }
        | CAPTURED
        for index, layer in enumerate((1, 3))
    ]
    return pa.Table.from_pylist(rows, schema=LAYERS)


@pytest.fixture
def samples() -> pa.Table:
    return pa.Table.from_pylist([sample_row(0, 3), sample_row(1, 2)], schema=SAMPLES)


@pytest.fixture
def events() -> pa.Table:
    rows = [
        event_row(layer, sample_id, position)
        for layer in (1, 3)
        for sample_id, tokens in ((0, 3), (1, 2))
        for position in range(tokens)
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS)


@pytest.fixture
def record() -> dict:
    values = {field.name: "x" for field in RUNS if pa.types.is_string(field.type)}
    values |= {field.name: 1 for field in RUNS if pa.types.is_integer(field.type)}
    return values | {
        "windows": False,
        "lines": False,
        "trust_remote_code": False,
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "finished_at": None,
        "capture_seconds": 0.5,
        "source": "capture",
        "source_files": None,
        "has_token_ids": True,
        "generate": None,
        "temperature": None,
        "seed": None,
        "output_norms": None,
    }


@pytest.fixture
def lake(tmp_path, layers, record) -> Lake:
    lake = Lake(tmp_path / "lake")
    vocabulary = [{"token_id": 10, "token_str": "a", "is_special": False}]
    lake.land_run(RUN, record, layers, pa.Table.from_pylist(vocabulary, schema=VOCABULARY))
    return lake
