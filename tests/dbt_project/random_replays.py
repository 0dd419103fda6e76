"""Made-up replays of the made-up runs, landed as `gatehouse replay` lands them.

Every number is drawn, but in the range of its like: what a stricter table covers is less, and a
model's own routing costs nothing.
"""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.replays import (
    ANOTHER_TOKEN,
    BIGRAMS,
    DROP_BELOW,
    MASK,
    OWN,
    REPLAYS,
    ROUTING_OF,
    TOKENS,
    LandedSamples,
    ReplayPolicy,
    content_hash,
    policy_columns,
)
from tests.dbt_project.random_lake import generator_of

TABLE = ReplayPolicy(TOKENS, ids_only=False, min_share=0.5, min_frequency=2)
POLICIES = {
    ReplayPolicy(OWN): 1.0,
    TABLE: 0.6,
    ReplayPolicy(TOKENS, ids_only=False, min_share=0.9, min_frequency=2): 0.3,
    ReplayPolicy(TOKENS, ids_only=True, table_size=3): 0.4,
    ReplayPolicy(TOKENS, ids_only=True, min_frequency=10, moe_indices=(1,)): 0.5,
    ReplayPolicy(TOKENS, ids_only=True, min_share=0.95, min_frequency=1000): 0.0,
    ReplayPolicy(BIGRAMS, ids_only=False, min_share=0.8): 0.2,
    ReplayPolicy(DROP_BELOW, weight_threshold=0.25): 0.7,
    ReplayPolicy(MASK, ranked_by="load", masked_experts=1): 0.4,
    ReplayPolicy(ANOTHER_TOKEN, min_share=0.5, min_frequency=2, controls=TABLE.policy_id): 0.6,
}
"""Policies, and what share of the tokens each covers in a layer that it overrules."""

BY_ENTROPY = {
    ReplayPolicy(TOKENS, ids_only=False, frequency_threshold=3, entropy_threshold=0.9): 0.5,
}
"""A policy that asks for entropies."""


def routing_of(run_id: str) -> dict[ReplayPolicy, float]:
    return {ReplayPolicy(ROUTING_OF, ids_only=False, routing_of=run_id): 1.0}


def land_replays(
    lake: Lake,
    run_id: str,
    policies: dict[ReplayPolicy, float],
    half: int | None = None,
    seed: str = "",
) -> None:
    """Land a part of a run's replays.

    Args:
        lake: holds the run, and those whose routing is taken.
        policies: each with the share that it covers.
        half: of its held-out samples only those with an even (0) or odd (1) place.
        seed: runs with the same one get the same numbers.
    """
    samples = held_out(lake, run_id)
    chosen = samples if half is None else samples[half::2]
    layers = len(pq.read_table(lake.file("layers", run_id), partitioning=None))
    rows = [
        policy_columns(policy, f"policy {policy.kind}")
        | hashes(lake, run_id, policy)
        | outcome(policy, covers, sample, layers, seed or run_id)
        for policy, covers in policies.items()
        for sample in chosen
    ]
    LandedSamples(lake, run_id).land(pa.Table.from_pylist(rows, schema=REPLAYS))


def held_out(lake: Lake, run_id: str) -> list[dict[str, Any]]:
    """Return the run's samples of the splits validation and test, in their order."""
    rows = [
        row
        for shard in lake.shards.recorded(run_id)
        for row in pq.read_table(
            lake.shard_file("samples", run_id, shard), partitioning=None
        ).to_pylist()
    ]
    return [row for row in rows if row["split"] != "train"]


def hashes(lake: Lake, run_id: str, policy: ReplayPolicy) -> dict[str, Any]:
    other = policy.routing_of
    return {
        "run_sha256": content_hash(lake, run_id),
        "routing_of_sha256": content_hash(lake, other) if other else None,
    }


def outcome(
    policy: ReplayPolicy, covers: float, sample: dict[str, Any], layers: int, seed: str
) -> dict[str, Any]:
    """Make up what one sample of a run with so many layers costs under a policy."""
    generator = generator_of(seed, policy.policy_id, sample["sample_id"])
    of_the_text = generator_of(seed, sample["sample_id"])
    rows = sample["tokens"]
    tokens = max(rows - 1, 0)
    untouched = of_the_text.gamma(5, size=tokens).sum()
    is_own = policy.kind == OWN
    overruled = [
        policy.moe_indices is None or moe_index in policy.moe_indices for moe_index in range(layers)
    ]
    covered = [int(rows * covers) if each else 0 for each in overruled]
    agreed = [each if is_own else int(generator.integers(each + 1)) for each in covered]
    undisturbed = [rows if is_own else int(generator.integers(rows + 1)) for _ in overruled]
    return {
        "sample_id": sample["sample_id"],
        "tokens": tokens,
        "nll": untouched if is_own else untouched + generator.uniform(0, 0.1) * tokens,
        "untouched_nll": untouched,
        "kl": 0.0 if is_own else generator.uniform(0, 0.2) * tokens,
        "same_top": tokens if is_own else int(generator.integers(tokens + 1)),
        "rows": rows,
        "covered": covered,
        "agreed": agreed,
        "undisturbed": undisturbed,
        "experts_run": [rows + int(each) for each in undisturbed],
        "device": "cpu",
        "versions": "gatehouse 0.1.0",
        "landed_at": datetime(2025, 3, 2, tzinfo=UTC),
    }


def land_all_replays(lake: Lake, alike: list[str]) -> None:
    """Land replays of some runs: in several parts, of what they do not hold, and of another run.

    `alike` are runs of the same text and layers, which get the same numbers.
    """
    for run_id in alike:
        land_replays(lake, run_id, POLICIES | routing_of("new"), seed="alike")
    for run_id in ("wide", "fine", "switch"):
        for half in (0, 1):
            land_replays(lake, run_id, POLICIES | BY_ENTROPY, half)
    land_replays(lake, "wide", routing_of("whole") | routing_of("slim"))
    land_stale(lake)


def land_stale(lake: Lake) -> None:
    """Land replays of what runs do not hold, themselves or another, and one that is too early."""
    for run_id, policy, column in (
        ("wide", TABLE, "run_sha256"),
        ("fine", ReplayPolicy(ROUTING_OF, routing_of="long"), "routing_of_sha256"),
        ("0042", ReplayPolicy(ROUTING_OF, routing_of="nowhere"), "device"),
        ("unfinished", TABLE, "device"),
    ):
        sample = {"sample_id": 9, "tokens": 50}
        row = policy_columns(policy, "stale") | hashes(lake, run_id, policy)
        row |= outcome(policy, 0.5, sample, 2, "stale") | {column: "of another version"}
        LandedSamples(lake, run_id).land(pa.Table.from_pylist([row], schema=REPLAYS))
