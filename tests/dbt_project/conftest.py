"""A small random lake of real Parquet, and dbt run over it in this process.

Runs: `0042` top-1 of 4 experts, `wide` top-2 of 8 in blocks 1 and 3, `flat` top-4 of 128 with
entropies 1e-5 about 4.85 nats, and `unfinished`, which is still being captured.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from warehouse.lake import Lake
from warehouse.paths import DBT_PROJECT
from warehouse.records import EVENTS, LAYERS, RUNS, SAMPLES, VOCABULARY

VOCABULARY_SIZE = 60
STARTED = datetime(2025, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class RandomRun:
    """A run to make up; `blocks` are the indices of its MoE layers' blocks."""

    run_id: str
    num_experts: int
    top_k: int
    blocks: tuple[int, ...]
    shards: int
    finished: bool = True
    flat: bool = False


SAMPLES_IN_A_SHARD = 10
RUNS_TO_LAND = [
    RandomRun("0042", num_experts=4, top_k=1, blocks=(0, 1, 2), shards=2),
    RandomRun("wide", num_experts=8, top_k=2, blocks=(1, 3), shards=3),
    RandomRun("flat", num_experts=128, top_k=4, blocks=(0,), shards=1, flat=True),
    RandomRun("unfinished", num_experts=8, top_k=2, blocks=(0, 1), shards=2, finished=False),
]


@dataclass(frozen=True)
class Project:
    """The dbt project at `folder` over the lake and database of `home`."""

    home: Path
    folder: Path = DBT_PROJECT

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    @property
    def database(self) -> Path:
        return self.home / "gatehouse.duckdb"

    @property
    def target(self) -> Path:
        return self.home / "dbt"

    def dbt(self, *command: str) -> Any:
        """Run one dbt command and return dbt's own result object."""
        from dbt.cli.main import dbtRunner

        places = {
            "--project-dir": self.folder,
            "--profiles-dir": DBT_PROJECT,
            "--target-path": self.target,
            "--log-path": self.target / "logs",
        }
        options = [str(part) for pair in places.items() for part in pair]
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("GATEHOUSE_LAKE", str(self.lake.root))
            environment.setenv("GATEHOUSE_DATABASE", str(self.database))
            return dbtRunner().invoke(["--quiet", "--log-level", "none", *command, *options])


def land(lake: Lake, run: RandomRun, generator: np.random.Generator) -> None:
    """Land a made-up run through the lake's own interface."""
    lake.land_run(run.run_id, record(run, finished=False), layers(run), vocabulary())
    for shard in range(run.shards):
        lake.land_shard(run.run_id, shard, *random_shard(run, shard, generator))
    lake.update_run(run.run_id, record(run, finished=run.finished))


def record(run: RandomRun, finished: bool) -> dict[str, Any]:
    values: dict[str, Any] = {field.name: "x" for field in RUNS if pa.types.is_string(field.type)}
    values |= {field.name: 1 for field in RUNS if pa.types.is_integer(field.type)}
    started = STARTED - timedelta(hours=len(run.run_id))
    return values | {
        "windows": False,
        "shards": run.shards,
        "num_samples": run.shards * SAMPLES_IN_A_SHARD,
        "started_at": started,
        "finished_at": started + timedelta(minutes=5) if finished else None,
        "capture_seconds": 1.5,
    }


def layers(run: RandomRun) -> pa.Table:
    rows = [
        {
            "layer": block,
            "moe_index": index,
            "stack": "decoder",
            "block": block,
            "router_path": f"layers.{block}.gate",
            "scoring": "softmax",
            "num_experts": run.num_experts,
            "top_k": run.top_k,
            "weights_sum_to_one": True,
        }
        for index, block in enumerate(run.blocks)
    ]
    return pa.Table.from_pylist(rows, schema=LAYERS)


def vocabulary() -> pa.Table:
    strings = ["<s>", "it's", 'a "quote"', "Köln", "line\nbreak", ""]
    rows = [
        {
            "token_id": token,
            "token_str": strings[token] if token < len(strings) else f"token {token}",
            "is_special": token == 0,
        }
        for token in range(VOCABULARY_SIZE)
    ]
    return pa.Table.from_pylist(rows, schema=VOCABULARY)


def random_shard(
    run: RandomRun, shard: int, generator: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    """Make up samples (one of them empty) and their events; few tokens, so that modes tie."""
    lengths = [0, *generator.integers(1, 60, size=SAMPLES_IN_A_SHARD - 1)]
    samples = pa.Table.from_pylist(
        [
            {
                "sample_id": shard * SAMPLES_IN_A_SHARD + index,
                "name": f"sample {index}",
                "domain": ("web", "code")[index % 2],
                "split": "train",
                "tokens": int(tokens),
                "dropped_tokens": index,
                "text_sha256": f"{index:064x}",
            }
            for index, tokens in enumerate(lengths)
        ],
        schema=SAMPLES,
    )
    likely = 1 / np.arange(1, VOCABULARY_SIZE - 5)
    tokens = generator.choice(len(likely), size=sum(lengths), p=likely / likely.sum())
    parts = [random_layer(run, block, tokens, generator) for block in run.blocks]
    keys = {
        "sample_id": np.repeat(shard * 10 + np.arange(10), lengths),
        "position": np.concatenate([np.arange(length) for length in lengths]),
        "token_id": tokens,
    }
    tables = [
        pa.table({name: part.get(name, keys.get(name)) for name in EVENTS.names}, schema=EVENTS)
        for part in parts
    ]
    return samples, pa.concat_tables(tables).combine_chunks()


def random_layer(
    run: RandomRun, block: int, tokens: np.ndarray, generator: np.random.Generator
) -> dict[str, Any]:
    """Make up one layer's columns; the selected experts are near the token's own favourite."""
    count, limit = len(tokens), np.log(run.num_experts)
    favourite = tokens * 7 + block + generator.integers(0, 3, size=count)
    experts = (favourite[:, None] + np.arange(run.top_k)) % run.num_experts
    if run.flat:
        entropy = 4.85 + generator.normal(0, 1e-5, size=count)
    else:
        entropy = generator.beta(1 + tokens % 5, 2, size=count) * limit
    confidence = generator.uniform(1 / run.num_experts, 1, size=count)
    return {
        "layer": np.full(count, block),
        "experts": experts.tolist(),
        "weights": np.full((count, run.top_k), 1 / run.top_k, dtype=np.float16).tolist(),
        "top_expert": experts[:, 0],
        "entropy": entropy.astype(np.float32),
        "confidence": confidence.astype(np.float32),
    }


@pytest.fixture(scope="session")
def make_project() -> type[Project]:
    """`make_project(home)`: the dbt project over the lake in `home`."""
    return Project


@pytest.fixture(scope="session")
def random_run() -> Callable[[Lake, str], None]:
    """`random_run(lake, run_id)`: land a finished run of one shard, top-1 of 4 experts."""

    def random_run(lake: Lake, run_id: str) -> None:
        run = RandomRun(run_id, num_experts=4, top_k=1, blocks=(0, 1), shards=1)
        land(lake, run, np.random.default_rng(3))

    return random_run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, built and tested over the random lake; a capture is going on meanwhile."""
    project = Project(tmp_path_factory.mktemp("it's a $home"))
    generator = np.random.default_rng(11)
    for run in RUNS_TO_LAND:
        land(project.lake, run, generator)
    events = project.lake.root / "events" / "run_id=unfinished"
    (events / "shard-00001.parquet").unlink()  # its samples have landed, its events not yet
    (events / f".shard-00001.parquet.{os.getpid()}.tmp").write_bytes(b"half a file")
    before = set(DBT_PROJECT.rglob("*"))
    outcome = project.dbt("build")
    assert set(DBT_PROJECT.rglob("*")) == before, "dbt wrote into the checkout"
    failed = [node.node.name for node in (outcome.result or []) if node.failures]
    assert outcome.success, (outcome.exception, failed)
    return project
