"""A replay as it is to be done: which text under which policies, and what of it has landed."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby
from typing import Self

from gatehouse.flows.replay.policies import Policies
from gatehouse.flows.replay.replayable import replayable
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.steps.workers import part as ranks
from gatehouse.reports.marts.held_out import held_out_samples
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.replays import LandedSamples, ReplayPolicy, content_hash

SAMPLES_AT_ONCE = 32
"""Held-out samples of a part: what a replay that is killed loses at most."""


@dataclass(frozen=True)
class Part:
    """Samples that are replayed together, in ascending order, under the same policies."""

    sample_ids: list[int]
    policies: list[ReplayPolicy]

    @property
    def order(self) -> str:
        """The part as JSON, for a worker."""
        policy_ids = [each.policy_id for each in self.policies]
        return json.dumps({"sample_ids": self.sample_ids, "policy_ids": policy_ids})

    @property
    def keys(self) -> set[tuple[str, int]]:
        """Its rows' policies and samples."""
        return {(each.policy_id, sample) for each in self.policies for sample in self.sample_ids}


class PlannedReplay:
    """What every process that replays parts of a run knows of it; it is closed with the block.

    Args:
        run_id: a finished run of the lake, which the marts hold as it is there.
        request: which policies, over how much text.
        paths: the warehouse.

    Attributes:
        sample_ids: what is replayed.
        policies: those of the request, and their controls.
        makers: of these policies.
        landed: what has landed of them.

    Raises:
        GatehouseError: the run was not captured, ran code that is not trusted now, or has no
            held-out text.
    """

    def __init__(self, run_id: str, request: ReplayRequest, paths: Paths) -> None:
        self.run_id = run_id
        self.request = request
        self.paths = paths
        self.lake = Lake(paths.lake)
        self.record = replayable(self.lake, run_id, request.trust_remote_code)
        self._open = ExitStack()
        self.connection = self._open.enter_context(connect(paths))
        held_out = held_out_samples(self.connection, run_id)
        if held_out.empty:
            raise GatehouseError(
                f"{run_id} has no text in the splits validation and test, and a table is not "
                "measured on the text that it was made of: capture more samples"
            )
        self.sample_ids = [int(each) for each in held_out["sample_id"][: request.num_samples]]
        self.policies = self._asked()
        self.makers = Policies(self.connection, self.lake, run_id)
        # while the run is locked, nobody captures a shard of it again
        self.holds = cache(partial(content_hash, self.lake))
        self.landed = LandedSamples(self.lake, run_id, self.holds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def pending(self, rank: ranks.Part = ranks.WHOLE) -> list[Part]:
        """Return what has not landed, in parts of at most SAMPLES_AT_ONCE samples.

        The text is cut in the same places whatever has landed, so that ranks agree on whose a
        part is, and samples that run together do so again.

        Args:
            rank: whose parts.

        Raises:
            BrokenLaw: a part that has landed is damaged.
        """
        landed = self.landed.by_policy()

        def missing(sample_id: int) -> list[ReplayPolicy]:
            return [
                policy
                for policy in self.policies
                if sample_id not in landed.get(policy.policy_id, ())
            ]

        found = []
        starts = range(0, len(self.sample_ids), SAMPLES_AT_ONCE)
        for number in rank.of_shards(len(starts)):
            together = self.sample_ids[starts[number] : starts[number] + SAMPLES_AT_ONCE]
            for policies, alike in groupby(together, key=missing):
                if policies:
                    found.append(Part(sorted(alike), policies))
        return found

    def part_of(self, order: str) -> Part:
        """Return the part that an order names."""
        asked = json.loads(order)
        by_id = {each.policy_id: each for each in self.policies}
        return Part(asked["sample_ids"], [by_id[each] for each in asked["policy_ids"]])

    def _asked(self) -> list[ReplayPolicy]:
        layers = self.lake.layers(self.run_id).to_pylist()
        for moe_index in self.request.moe_indices or ():
            if moe_index >= len(layers):
                raise GatehouseError(
                    f"--layer {moe_index}: {self.run_id} has the MoE layers 0 to {len(layers) - 1}"
                )
        others = {name: find_run(self.paths.lake, name) for name in self.request.routing_of}
        for other in others.values():
            record = self.lake.run_record(other)
            if record is None:
                raise GatehouseError(
                    f"there is no run {other!r}, so it has no routing: `gatehouse status` lists "
                    "the runs"
                )
            if record["finished_at"] is None:
                raise GatehouseError(
                    f"{other} has not finished, so its routing is not whole: resume its capture"
                )
        largest = max(layer["num_experts"] for layer in layers)
        return self.request.policies(largest, others)


def samples_of(parts: Sequence[Part]) -> int:
    """Return how many samples some parts have."""
    return sum(len(part.sample_ids) for part in parts)
