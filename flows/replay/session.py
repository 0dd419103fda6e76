"""One replay: held-out text runs once untouched and once per policy, and what it cost lands."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from itertools import groupby
from typing import Any, Self

import numpy as np
import pyarrow as pa

from gatehouse.flows.console import say, working
from gatehouse.flows.replay.policies import Policies
from gatehouse.flows.replay.replayable import plan_of, replayable
from gatehouse.flows.replay.request import ReplayRequest, words
from gatehouse.ingest.windows import batches
from gatehouse.models.replay.likelihoods import scoring_class
from gatehouse.models.replay.measuring import Measured, measure
from gatehouse.models.zoo import LoadedModel, versions
from gatehouse.reports.marts.held_out import held_out_samples, tokens_of
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.run_names import find_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import TokenWindow
from gatehouse.warehouse.replays import (
    OWN,
    REPLAYS,
    ReplayPolicy,
    content_hash,
    land_part,
    landed_samples,
    policy_columns,
)

SAMPLES_AT_ONCE = 32
"""Held-out samples of a part: what a replay that is killed loses at most."""

SUMS = ("tokens", "nll", "untouched_nll", "kl", "same_top", "rows")
LAYER_SUMS = ("covered", "agreed", "undisturbed", "experts_run")
"""Fields of `Measured` that are added up, of which the latter have a number for each MoE layer."""


@dataclass(frozen=True)
class Part:
    """Samples that are replayed together, in ascending order, under the same policies."""

    sample_ids: list[int]
    policies: list[ReplayPolicy]


@dataclass
class _Sums:
    """What one policy cost in one sample, over the parts of a batch that had it."""

    values: dict[str, Any] = field(default_factory=dict)

    def add(self, measured: Measured, row: int) -> None:
        for name in (*SUMS, *LAYER_SUMS):
            self.values[name] = self.values.get(name, 0) + getattr(measured, name)[row]

    def columns(self) -> dict[str, Any]:
        return {name: np.asarray(value).tolist() for name, value in self.values.items()}


class ReplaySession:
    """A run being replayed, locked while entered. It loads weights only if a part is pending.

    Args:
        run_id: a finished run of the lake, which the marts hold as it is there.
        request: which policies, over how much text.
        paths: the warehouse.

    Attributes:
        pending: the parts to measure, known once entered.
        policies: those of the request, and their controls.

    Raises:
        GatehouseError: the run was not captured, ran code that is not trusted now, or has no
            held-out text; on entering, another process writes this run, its model has changed, or
            a policy lacks what it needs.
    """

    def __init__(self, run_id: str, request: ReplayRequest, paths: Paths) -> None:
        self.run_id = run_id
        self.request = request
        self.pending: list[Part] = []
        self._paths = paths
        self._lake = Lake(paths.lake)
        self._record = replayable(self._lake, run_id, request.trust_remote_code)
        self._open = ExitStack()
        self._connection = self._open.enter_context(connect(paths))
        held_out = held_out_samples(self._connection, run_id)
        if held_out.empty:
            raise GatehouseError(
                f"{run_id} has no text in the splits validation and test, and a table is not "
                "measured on the text that it was made of: capture more samples"
            )
        self._sample_ids = [int(each) for each in held_out["sample_id"][: request.num_samples]]
        self.policies = self._asked()
        self._makers = Policies(self._connection, self._lake, run_id)
        self._conditions: dict[str, str] = {}
        # while the run is locked, nobody captures a shard of it again
        self._holds = cache(partial(content_hash, self._lake))
        self._loaded: LoadedModel | None = None

    def _asked(self) -> list[ReplayPolicy]:
        layers = self._lake.layers(self.run_id).to_pylist()
        for moe_index in self.request.moe_indices or ():
            if moe_index >= len(layers):
                raise GatehouseError(
                    f"--layer {moe_index}: {self.run_id} has the MoE layers 0 to {len(layers) - 1}"
                )
        others = {name: find_run(self._paths.lake, name) for name in self.request.routing_of}
        for other in others.values():
            record = self._lake.run_record(other)
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

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.push(self._open.pop_all())
            opening.enter_context(self._lake.writing(self.run_id))
            self._lake.remove_leftovers(self.run_id)
            self.pending = self._find_pending()
            if self.pending:
                self._check_policies()
                self._load()
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()
        self._loaded = None

    def _find_pending(self) -> list[Part]:
        landed = landed_samples(self._lake, self.run_id)
        missing = {
            sample_id: [
                policy
                for policy in self.policies
                if sample_id not in landed.get(policy.policy_id, ())
            ]
            for sample_id in self._sample_ids
        }
        found = []
        for policies, alike in groupby(self._sample_ids, key=missing.__getitem__):
            sample_ids = list(alike)
            for first in range(0, len(sample_ids), SAMPLES_AT_ONCE) if policies else ():
                part = sorted(sample_ids[first : first + SAMPLES_AT_ONCE])
                found.append(Part(part, policies))
        if found and any(not missing[each] for each in self._sample_ids):
            left = counted(sum(len(part.sample_ids) for part in found), "sample")
            say(f"resuming the replay of {self.run_id}: {left} left")
        elif not found:
            say(f"{self.run_id} is replayed: nothing to measure")
        return found

    def _check_policies(self) -> None:
        """Make each policy once, so that what one lacks is said before the weights are loaded."""
        first = self.pending[0]
        with working("reading tables"):
            for policy in first.policies:
                self._makers.of(policy, first.sample_ids)

    def _load(self) -> None:
        plan = plan_of(self.run_id, self._record, self._paths, self.request.device_map)
        self._conditions = {
            "device": plan.device_name,
            "versions": versions(plan.quantization),
        }
        with working(f"loading {plan.name}"):
            self._loaded = plan.load(head=scoring_class(plan))

    def measure(self, part: Part) -> int:
        """Replay one part and land it; return its number of tokens.

        Raises:
            GatehouseError: the model cannot be replayed, its own routing changes what it computes,
                or a disk that cannot be written.
        """
        if self._loaded is None:
            raise RuntimeError("enter the session before measuring")
        policies = {
            each.policy_id: self._makers.of(each, part.sample_ids) for each in part.policies
        }
        size = self.request.batch_size or self._record["batch_size"]
        budget = size * self._record["max_length"]
        windows = list(self._windows(part.sample_ids))
        found: dict[tuple[str, int], _Sums] = defaultdict(_Sums)
        for measured in measure(self._loaded, policies, batches(windows, token_budget=budget)):
            for policy_id, sums in measured.items():
                for row, sample_id in enumerate(sums.sample_ids):
                    found[policy_id, int(sample_id)].add(sums, row)
        rows = [
            self._row(policy, sample_id, found[policy.policy_id, sample_id].columns())
            for policy in part.policies
            for sample_id in part.sample_ids
        ]
        self._check_own(rows)
        land_part(self._lake, self.run_id, pa.Table.from_pylist(rows, schema=REPLAYS))
        return len(part.sample_ids)

    def _windows(self, sample_ids: list[int]) -> Iterator[TokenWindow]:
        """Yield the tokens of samples as the run's model read them."""
        length = self._record["max_length"]
        found = tokens_of(self._connection, self.run_id, sample_ids)
        ids = found["sample_id"].to_numpy()
        token_ids = found["token_id"].to_numpy()
        for sample_id in sample_ids:
            own = memoryview(token_ids[ids == sample_id])
            for start in range(0, len(own), length):
                yield TokenWindow(sample_id, start, own[start : start + length])

    def _row(self, policy: ReplayPolicy, sample_id: int, sums: dict[str, Any]) -> dict[str, Any]:
        other = policy.routing_of
        return {
            **policy_columns(policy, words(policy)),
            **sums,
            **self._conditions,
            "run_sha256": self._holds(self.run_id),
            "routing_of_sha256": other and self._holds(other),
            "sample_id": sample_id,
            "landed_at": datetime.now(UTC),
        }

    def _check_own(self, rows: list[dict[str, Any]]) -> None:
        """Refuse a replay that changes the model although it replaces routing by itself."""
        if self._record["dtype"] != "float32":
            return
        for row in rows:
            if row["kind"] == OWN and row["nll"] != row["untouched_nll"]:
                raise GatehouseError(
                    f"replaying its own routing changes what {self._record['model']} computes in "
                    f"sample {row['sample_id']}, so no cost can be told: replay with another "
                    "--device-map, or another model"
                )
