"""The parts of a replay, measured one after another in this process."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from gatehouse.flows.console import working
from gatehouse.flows.replay.planned import Part, PlannedReplay
from gatehouse.flows.replay.replayable import plan_of
from gatehouse.flows.replay.request import words
from gatehouse.ingest.windows import batches
from gatehouse.models.replay.likelihoods import scoring_class
from gatehouse.models.replay.measuring import Measured, measure
from gatehouse.models.zoo import LoadedModel, ModelPlan, versions
from gatehouse.reports.marts.held_out import tokens_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow
from gatehouse.warehouse.replays import OWN, REPLAYS, ReplayPolicy, policy_columns

SUMS = ("tokens", "nll", "untouched_nll", "kl", "same_top", "rows")
LAYER_SUMS = ("covered", "agreed", "undisturbed", "experts_run")
"""Fields of `Measured` that are added up, of which the latter have a number for each MoE layer."""


@dataclass
class _Sums:
    """What one policy cost in one sample, over the parts of a batch that had it."""

    values: dict[str, Any] = field(default_factory=dict)

    def add(self, measured: Measured, row: int) -> None:
        for name in (*SUMS, *LAYER_SUMS):
            self.values[name] = self.values.get(name, 0) + getattr(measured, name)[row]

    def columns(self) -> dict[str, Any]:
        return {name: np.asarray(value).tolist() for name, value in self.values.items()}


class PartReplay:
    """Measures parts of a replay, with a model that is loaded once.

    Args:
        replay: whose parts they are; the caller holds the lock of its run.

    Attributes:
        plan: the model, as the run had it.

    Raises:
        GatehouseError: the model has changed, or cannot be resolved.
    """

    def __init__(self, replay: PlannedReplay) -> None:
        self._replay = replay
        self.plan: ModelPlan = plan_of(
            replay.run_id, replay.record, replay.paths, replay.request.device_map
        )
        self._loaded: LoadedModel | None = None

    def load(self) -> None:
        """Load the model if it is not there yet.

        Raises:
            GatehouseError: it cannot be loaded.
        """
        if self._loaded is None:
            with working(f"loading {self.plan.name}"):
                self._loaded = self.plan.load(head=scoring_class(self.plan))

    def measure(self, part: Part) -> int:
        """Replay one part and land it unless it has landed; return its number of samples.

        Raises:
            GatehouseError: the model cannot be replayed, its own routing changes what it computes,
                or a disk that cannot be written.
        """
        replay = self._replay
        if replay.landed.have(part.keys):
            return len(part.sample_ids)
        self.load()
        assert self._loaded
        policies = {
            each.policy_id: replay.makers.of(each, part.sample_ids) for each in part.policies
        }
        size = replay.request.batch_size or replay.record["batch_size"]
        budget = size * replay.record["max_length"]
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
        replay.landed.land(pa.Table.from_pylist(rows, schema=REPLAYS))
        return len(part.sample_ids)

    def _windows(self, sample_ids: list[int]) -> Iterator[TokenWindow]:
        """Yield the tokens of samples as the run's model read them."""
        length = self._replay.record["max_length"]
        found = tokens_of(self._replay.connection, self._replay.run_id, sample_ids)
        ids = found["sample_id"].to_numpy()
        token_ids = found["token_id"].to_numpy()
        for sample_id in sample_ids:
            own = memoryview(token_ids[ids == sample_id])
            for start in range(0, len(own), length):
                yield TokenWindow(sample_id, start, own[start : start + length])

    def _row(self, policy: ReplayPolicy, sample_id: int, sums: dict[str, Any]) -> dict[str, Any]:
        other, holds = policy.routing_of, self._replay.holds
        return {
            **policy_columns(policy, words(policy)),
            **sums,
            "device": self.plan.device_name,
            "versions": versions(self.plan.quantization),
            "run_sha256": holds(self._replay.run_id),
            "routing_of_sha256": other and holds(other),
            "sample_id": sample_id,
            "landed_at": datetime.now(UTC),
        }

    def _check_own(self, rows: list[dict[str, Any]]) -> None:
        """Refuse a replay that changes the model although it replaces routing by itself."""
        record = self._replay.record
        if record["dtype"] != "float32":
            return
        for row in rows:
            if row["kind"] == OWN and row["nll"] != row["untouched_nll"]:
                raise GatehouseError(
                    f"replaying its own routing changes what {record['model']} computes in "
                    f"sample {row['sample_id']}, so no cost can be told: replay with another "
                    "--device-map, or another model"
                )
