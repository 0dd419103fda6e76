"""A run as it is to be captured: its identity, its text, and its place in the lake."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.identity import run_spec
from gatehouse.ingest.prepare import Prepared, shard_count
from gatehouse.models.zoo import ModelPlan, versions
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import Reading, keep_reading, reading_of
from gatehouse.warehouse.notes.run_names import name_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.records import CAPTURE, LAKE_VERSION


class PlannedRun:
    """What every process that captures shards of a run knows of it.

    Args:
        request: how to run the model.
        plan: the resolved model.
        prepared: the samples.
        paths: the warehouse.
        started_at: when the command began; default: now.

    Raises:
        GatehouseError: the tokenizer cannot be loaded, or has no template for the samples' chats,
            or the lake has another version.
    """

    def __init__(
        self,
        request: RunRequest,
        plan: ModelPlan,
        prepared: Prepared,
        paths: Paths,
        started_at: datetime | None = None,
    ) -> None:
        self.request = request
        self.plan = plan
        self.prepared = prepared
        self.paths = paths
        self.lake = Lake(paths.lake)
        self.spec = run_spec(request, prepared, plan)
        self.run_id = self.spec.run_id
        self.shards = shard_count(prepared.path)
        self.started_at = started_at or datetime.now(UTC)

    def record(self) -> dict[str, Any]:
        """Return the run's row of `runs`, as it is before its first shard has landed."""
        return asdict(self.spec) | {
            "lake_version": LAKE_VERSION,
            "shards": self.shards,
            "skipped_empty": self.prepared.skipped_empty,
            "skipped_broken": self.prepared.skipped_broken,
            "lines": self.request.lines,
            "document_field": self.request.document_field,
            "batch_size": self.request.batch_size,
            "device": self.plan.device_name,
            "versions": versions(self.plan.quantization),
            "started_at": self.started_at,
            "finished_at": None,
            "capture_seconds": 0.0,
            "source": CAPTURE,
            "source_files": None,
            "has_token_ids": True,
        }

    def landed(self, shard: int) -> int | None:
        """Return the tokens of a shard that has landed, None if it has not."""
        row = self.lake.shards.landed(self.run_id, shard)
        return int(row["tokens"]) if row else None

    def keep_name(self) -> None:
        """Give the run, which has landed, the name that the request has for it."""
        if self.request.name:
            name_run(self.lake.root, self.run_id, self.request.name)

    def keep_reading(self) -> None:
        """Keep how the run's text was read."""
        reading = Reading(
            self.request.text_field,
            self.request.domain_field,
            self.prepared.files_opened,
            self.prepared.files_left_out,
            self.request.chat_as_text,
        )
        if reading_of(self.lake.root, self.run_id) != reading:
            keep_reading(self.lake.root, self.run_id, reading)
