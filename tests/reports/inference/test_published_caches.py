"""What was published of caches over real traces."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from gatehouse.reports.inference import byte_cache, expert_cache
from gatehouse.reports.inference.accesses import through_layers

TRACES = Path(__file__).resolve().parents[4] / "shared" / "traces"
MIB = 2**20

pytestmark = pytest.mark.skipif(not TRACES.is_dir(), reason="the real traces are not here")


@pytest.mark.parametrize(("policy", "published"), [("lru", 31.93), ("belady", 60.20)])
def test_warp(policy, published):
    """OLMoE, 64 experts in 16 layers: an eighth of them, in one cache for all layers."""
    lines = (TRACES / "warp" / "trace_olmoe_299.jsonl").read_text().splitlines()
    document = np.array([json.loads(line)["layers"] for line in lines])
    accesses = through_layers([document], num_experts=64)
    distances = getattr(expert_cache, policy)(accesses)
    rates = expert_cache.hits(accesses, distances)[0] / accesses.counts
    assert round(100 * rates[128], 2) == published


def route_trace(path: Path) -> tuple[np.ndarray, int, np.ndarray]:
    """Return (tokens, layers, top_k) experts, the tokens of the prompt, and bytes by layer."""
    lines = path.read_text().splitlines()
    header = [dict(word.split("=") for word in line.split()[1:]) for line in lines[2:100]
              if line.startswith("# layer=")]  # fmt: skip
    sizes = np.array([int(words["expert_bytes"]) for words in header])
    rows = np.loadtxt(lines[2 + len(sizes) :], np.int32, delimiter=",", skiprows=1,
                      usecols=(1, 2, 3, 4, 5))  # fmt: skip
    phase, step, layer, slot, expert = rows.T
    experts = np.full((step.max() + 1, len(sizes), slot.max() + 1), byte_cache.UNROUTED)
    experts[step, layer, slot] = expert
    return experts, int(step[phase == 0].max()) + 1, sizes


@pytest.mark.parametrize("name", ["qwen", "gptoss"])
def test_big_moe_on_edge(name):
    """Qwen3-30B and gpt-oss-120b, 128 experts a layer: each policy at each published budget."""
    folder = TRACES / "bigmoeonedge"
    experts, prompt_tokens, sizes = route_trace(folder / f"{name}.route.csv")
    sequence = byte_cache.passes(experts, prompt_tokens, num_experts=128)
    with (folder / f"{name}-curve.csv").open() as file:
        curve = list(csv.DictReader(file))
    budgets = sorted({int(row["budget_mib"]) for row in curve})
    for policy in byte_cache.POLICIES:
        served = byte_cache.serve(
            sequence, policy, [budget * MIB for budget in budgets], np.repeat(sizes, 128)
        )
        found = [
            (
                100 * (one.prompt_hits + one.generated_hits)
                / (one.prompt_accesses + one.generated_accesses),
                100 * one.generated_hits / one.generated_accesses,
                one.bytes_read / MIB,
            )
            for one in served
        ]  # fmt: skip
        published = [
            (float(row["hit_pct_cum"]), float(row["hit_pct_decode"]), float(row["read_mib"]))
            for row in curve
            if row["policy"] == policy
        ]
        assert len(published) == len(budgets)
        np.testing.assert_allclose(found, published, rtol=0, atol=0.051, err_msg=policy)
