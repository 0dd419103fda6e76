"""Per-token statistics with known properties, and marts made of them by hand."""

import datetime
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.statistics import ENTROPY_THRESHOLDS, FREQUENCY_THRESHOLDS
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths
from tests.reports.page.browsing import address, browser, run_page, tab  # noqa: F401

ODD_TOKENS = ["<s>", " the", "\n", ",", '"', "<script>alert(1)</script>", "NA", "null", "$x_1$", ""]
RUN = "demo-pydoc-0123456789"
EARLIER = "demo-pydoc-abcdef0123"

FrameMaker = Callable[..., pd.DataFrame]


def statistics_frame(tokens: int = 400, seed: int = 0, low_entropy: bool = True) -> pd.DataFrame:
    """Zipf frequencies; entropy falls with frequency; the most frequent tokens first."""
    random = np.random.default_rng(seed)
    ranks = np.arange(1, tokens + 1)
    frequency = np.maximum(1, (9000 / ranks**1.1 * random.lognormal(0, 0.1, tokens)).astype(int))
    frequency = np.sort(frequency)[::-1]
    start = 0.75 if low_entropy else 1.9
    entropy = start - 0.15 * np.log(frequency) + random.normal(0, 0.1, tokens)
    entropy = np.clip(entropy, 0.01, 2.07)
    modal = np.maximum(1, np.round(frequency * np.clip(1 - 0.3 * entropy, 0.125, 1)))
    spread = np.where(frequency > 1, 0.1, np.nan)
    names = [*ODD_TOKENS, *(f" token{index}" for index in range(tokens))][:tokens]
    frame = pd.DataFrame(
        {
            "token_id": random.permutation(tokens),
            "token_str": names,
            "frequency": frequency,
            "mean_entropy": entropy,
            "std_entropy": spread,
            "mean_confidence": np.clip(1 - entropy / 2.6, 0.13, 1),
            "std_confidence": spread / 2,
            "routing_consistency": modal / frequency,
            "top_expert": random.integers(0, 8, tokens),
            "min_entropy": entropy * 0.9,
            "max_entropy": np.minimum(2.079, entropy * 1.1),
        }
    )
    return frame.sort_values(["frequency", "token_id"], ascending=[False, True], ignore_index=True)


@pytest.fixture(scope="session")
def make_frame() -> FrameMaker:
    return statistics_frame


@pytest.fixture
def frame() -> pd.DataFrame:
    return statistics_frame()


@pytest.fixture(scope="session")
def warehouse_paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A DuckDB file with two finished runs of two MoE layers (blocks 1 and 3)."""
    paths = Paths(tmp_path_factory.mktemp("warehouse"))
    with duckdb.connect(str(paths.database)) as writer:
        for run_id, day in ((RUN, 2), (EARLIER, 1)):
            for name, table in marts(run_id, day).items():
                writer.register("rows", table)
                writer.execute(f"create table if not exists {name} as from rows limit 0")
                writer.execute(f"insert into {name} from rows")
                writer.unregister("rows")
    return paths


@pytest.fixture
def connection(warehouse_paths: Paths) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(warehouse_paths) as opened:
        yield opened


@pytest.fixture
def analysis(frame: pd.DataFrame) -> SimpleNamespace:
    """The run's row, its layers, and the statistics of its first MoE layer."""
    tables = marts(RUN, 2)
    routed = tables["fct_layer_routing"].drop(columns=["moe_index", "num_experts"])
    layers = tables["dim_layer"].merge(routed, on=["run_id", "layer"])
    return SimpleNamespace(run=tables["dim_run"].iloc[0].to_dict(), layers=layers, frame=frame)


@pytest.fixture(scope="session")
def run_ids() -> tuple[str, str]:
    """The warehouse's runs, the latest finished last."""
    return EARLIER, RUN


def marts(run_id: str, day: int) -> dict[str, pd.DataFrame]:
    """The marts that reports read, by the contract with dbt, for a run finished on that day."""
    blocks = {1: statistics_frame(60, 1), 3: statistics_frame(60, 2)}
    routing = pd.concat(
        [
            each.assign(run_id=run_id, layer=block, moe_index=block // 2, is_special=False)
            # the mart promises no order
            .sample(frac=1, random_state=block)
            for block, each in blocks.items()
        ]
    )
    tokens = blocks[1][["token_id", "token_str"]]
    return {
        "dim_run": pd.DataFrame([_run(run_id, day, blocks)]),
        "dim_layer": pd.DataFrame([_layer(run_id, block) for block in blocks]),
        "dim_token": tokens.assign(run_id=run_id, is_special=tokens["token_str"].eq("<s>")),
        "fct_token_routing": routing,
        "fct_layer_routing": pd.DataFrame(
            [_layer_routing(run_id, block, each) for block, each in blocks.items()]
        ),
        "fct_fast_path_coverage": pd.DataFrame(
            [row for block, each in blocks.items() for row in _coverage(run_id, block, each)]
        ),
    }


def _run(run_id: str, day: int, blocks: dict[int, pd.DataFrame]) -> dict:
    finished = datetime.datetime(2025, 11, day, 9, 30, tzinfo=datetime.UTC)
    return {
        "run_id": run_id,
        "source": "capture",
        "model": "demo",
        "dataset": "pydoc",
        "has_token_ids": True,
        "max_length": 512,
        "dtype": "float32",
        "quantization": "none",
        "attention_implementation": "sdpa",
        "experts_implementation": "eager",
        "trust_remote_code": False,
        "batch_size": 8,
        "device": "cpu",
        "versions": "gatehouse 0.1.0, torch 2.13.0",
        "finished_at": pd.Timestamp(finished),
        "capture_seconds": 31.4,
        "samples": 12,
        "tokens": int(blocks[1]["frequency"].sum()),
        "duplicate_samples": 0,
        "dropped_tokens": 7,
        "moe_layers": 2,
        "events": int(sum(frame["frequency"].sum() for frame in blocks.values())),
    }


def _layer(run_id: str, block: int) -> dict:
    return {
        "run_id": run_id,
        "layer": block,
        "moe_index": block // 2,
        "stack": "decoder",
        "block": block,
        "router_path": f"model.layers.{block}.mlp.gate",
        "scoring": "softmax",
        "num_experts": 8,
        "top_k": 2,
        "weights_sum_to_one": True,
        "expert_bytes": None,
        "has_weights": True,
        "has_distribution": True,
        "ranked": True,
    }


def _layer_routing(run_id: str, block: int, frame: pd.DataFrame) -> dict:
    mean = float(np.average(frame["mean_entropy"], weights=frame["frequency"]))
    return {
        "run_id": run_id,
        "layer": block,
        "moe_index": block // 2,
        "num_experts": 8,
        "events": int(frame["frequency"].sum()),
        "token_types": len(frame),
        "mean_entropy": mean,
        "std_entropy": 0.2,
        "min_entropy": float(frame["min_entropy"].min()),
        "max_entropy": float(frame["max_entropy"].max()),
        "normalised_entropy": mean / float(np.log(8)),
        "mean_confidence": 0.6,
        "std_confidence": 0.1,
        "routing_consistency": 0.7,
        "max_load_ratio": 1.5,
        "load_variation": 0.3,
        "jain_index": 0.9,
        "dead_experts": 0,
    }


def _coverage(run_id: str, block: int, frame: pd.DataFrame) -> Iterator[dict]:
    total = int(frame["frequency"].sum())
    for least in FREQUENCY_THRESHOLDS:
        for most in ENTROPY_THRESHOLDS:
            rows = frame[(frame["frequency"] > least) & (frame["mean_entropy"] < most)]
            covered = int(rows["frequency"].sum())
            yield {
                "run_id": run_id,
                "layer": block,
                "moe_index": block // 2,
                "frequency_threshold": least,
                "entropy_threshold": most,
                "eligible_tokens": len(rows),
                "token_types": len(frame),
                "covered_occurrences": covered,
                "occurrences": total,
                "coverage": covered / total,
            }
