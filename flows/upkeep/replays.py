"""How far the replay of a run is that is under way, by all of its processes."""

from datetime import UTC, datetime
from typing import Any

from gatehouse.flows.console import clock
from gatehouse.warehouse.errors import BrokenLaw
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.replaying import replaying_of
from gatehouse.warehouse.replays import LandedSamples


def replay_seen(lake: Lake, run_id: str) -> dict[str, Any] | None:
    """Return how far the replay of a run is, whose lock is held; None if it is not replayed.

    samples are those to replay, replayed_samples those that have landed under every policy;
    seconds_left is what the others take at the rate since the process that began last, null before
    its first part.
    """
    replaying = replaying_of(lake.root, run_id)
    if replaying is None:
        return None
    try:
        by_policy = LandedSamples(lake, run_id).by_policy()
    except BrokenLaw:  # which `gatehouse verify` names
        return None
    landed = set(replaying.sample_ids)
    for policy_id in replaying.policy_ids:
        landed &= by_policy.get(policy_id, set())
    since = len(landed) - replaying.begun_with
    left = len(replaying.sample_ids) - len(landed)
    seconds = (datetime.now(UTC) - replaying.begun_at).total_seconds()
    return {
        "samples": len(replaying.sample_ids),
        "replayed_samples": len(landed),
        "seconds_left": max(seconds, 0.0) / since * left if since > 0 else None,
    }


def in_words(replay: dict[str, Any]) -> str:
    """Return in a few words what `replay_seen` returns."""
    left = replay["seconds_left"]
    time = "" if left is None else f", {clock(left)} left"
    return f"{replay['replayed_samples']:,} of {replay['samples']:,} samples{time}"
