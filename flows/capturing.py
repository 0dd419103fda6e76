"""One run from prepared samples to a finished lake: resumable shard by shard."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from flows.console import bar, say
from flows.request import RunRequest
from ingest.prepare import Prepared, prepare, read_shard, shard_count
from ingest.windows import batches, tokenize
from models.capture import RoutingTap, capture
from models.structure import weights_line
from models.zoo import (
    LoadedModel,
    ModelPlan,
    resolve,
    tokenizer_fingerprint,
    versions,
    vocabulary,
)
from warehouse.errors import GatehouseError
from warehouse.lake import Lake
from warehouse.paths import Paths
from warehouse.records import LAKE_VERSION, VOCABULARY, RunSpec


@dataclass(frozen=True)
class CaptureSummary:
    """What a run holds when all its shards have landed."""

    run_id: str
    samples: int
    tokens: int
    dropped_tokens: int
    moe_layers: int
    seconds: float

    @property
    def line(self) -> str:
        """One sentence for people."""
        return (
            f"{self.run_id}: {self.samples:,} samples, {self.tokens:,} tokens x "
            f"{self.moe_layers} MoE layers = {self.tokens * self.moe_layers:,} events; "
            f"{self.dropped_tokens:,} tokens beyond --max-length dropped"
        )


def plan_model(request: RunRequest) -> ModelPlan:
    """Resolve the request's model from its config, before text or weights are touched.

    Raises:
        GatehouseError: no such model, no MoE layers, or not what the request expects of it.
    """
    plan = resolve(request.model, **request.loading)
    found = {site.num_experts for site in plan.sites}
    if request.num_experts is not None and found != {request.num_experts}:
        counts = ", ".join(map(str, sorted(found)))
        raise GatehouseError(
            f"--num-experts {request.num_experts}, but {plan.name} has {counts}: leave it out, "
            "the number is read from the model"
        )
    if request.moe_index is not None and request.moe_index >= len(plan.sites):
        raise GatehouseError(
            f"--layer {request.layer}: {plan.name} has {len(plan.sites)} MoE layers, "
            f"0 to {len(plan.sites) - 1}"
        )
    longest = getattr(plan.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(longest, int) and request.max_length > longest:
        raise GatehouseError(
            f"--max-length {request.max_length}: {plan.name} takes at most {longest} tokens"
        )
    return plan


def prepare_samples(request: RunRequest, folder: Path) -> Prepared:
    """Prepare the request's dataset under `folder`, showing how far it is."""
    with bar("preparing samples", request.num_samples) as moved:
        return prepare(
            request.dataset,
            num_samples=request.num_samples,
            first_sample=request.first_sample,
            folder=folder,
            create_splits=request.create_splits,
            progress=moved,
        )


class CaptureSession:
    """A run being captured: weights are loaded on entering, and only if a shard is pending.

    Raises:
        GatehouseError: the tokenizer cannot be loaded, or the lake is damaged or of another
            version.
    """

    def __init__(
        self, request: RunRequest, plan: ModelPlan, prepared: Prepared, paths: Paths
    ) -> None:
        self.request = request
        self.prepared = prepared
        self.lake = Lake(paths.lake)
        self.plan = plan
        self.spec = run_spec(request, prepared, plan)
        self.run_id = self.spec.run_id
        shards = shard_count(prepared.path)
        finished = self.lake.finished_shards(self.run_id)
        self.shards = shards
        self.pending = [shard for shard in range(shards) if shard not in finished]
        self._loaded: LoadedModel | None = None
        self._tap: RoutingTap | None = None
        self._fits: int | None = None

    def __enter__(self) -> Self:
        if self.pending:
            self._loaded = self.plan.load()
            say(weights_line(self._loaded))
            self._tap = RoutingTap(self._loaded.model).__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._tap:
            self._tap.__exit__(*exception)
        self._loaded = self._tap = None

    def capture(self, shard: int) -> int:
        """Capture one shard and land it; return its number of tokens.

        Raises:
            GatehouseError: routing that cannot be trusted, or a disk that cannot be written.
        """
        if not (self._loaded and self._tap):
            raise RuntimeError("enter the session before capturing")
        started = time.monotonic()
        windows, samples = tokenize(
            read_shard(self.prepared.path, shard),
            self._loaded.encode,
            max_length=self.request.max_length,
            windows=self.request.windows,
        )
        token_budget = self.request.batch_size * self.request.max_length
        events = capture(self._tap, batches(windows, token_budget=token_budget))
        self._say_if_memory_ran_out()
        if self.lake.run_record(self.run_id) is None:
            self._land_run()
        self.lake.land_shard(self.run_id, shard, samples, events)
        self._update(capture_seconds=time.monotonic() - started)
        return sum(samples["tokens"].to_pylist())

    def _say_if_memory_ran_out(self) -> None:
        fits = self._tap.memory.positions if self._tap else None
        if fits != self._fits:
            say(f"out of memory: going on with at most {fits:,} token positions a batch")
            self._fits = fits

    def finish(self) -> CaptureSummary:
        """Close the run once every shard has landed; a finished run stays as it is."""
        missing = set(range(self.shards)) - self.lake.finished_shards(self.run_id)
        if missing:
            raise RuntimeError(f"shards {sorted(missing)[:5]} have not landed")
        record = self._record()
        if record["finished_at"] is None:
            self._update(finished_at=datetime.now(UTC))
        tokens, dropped = self.lake.tokens(self.run_id)
        return CaptureSummary(
            run_id=self.run_id,
            samples=self.prepared.num_samples,
            tokens=tokens,
            dropped_tokens=dropped,
            moe_layers=self.lake.layers(self.run_id).num_rows,
            seconds=self._record()["capture_seconds"],
        )

    def _land_run(self) -> None:
        assert self._tap is not None
        record = asdict(self.spec) | {
            "lake_version": LAKE_VERSION,
            "shards": self.shards,
            "batch_size": self.request.batch_size,
            "device": self.plan.device_name,
            "versions": f"gatehouse {version('gatehouse')}, {versions(self.plan.quantization)}",
            "started_at": datetime.now(UTC),
            "finished_at": None,
            "capture_seconds": 0.0,
        }
        table = pa.Table.from_pylist(vocabulary(self.plan.tokenizer), schema=VOCABULARY)
        self.lake.land_run(self.run_id, record, self._tap.layers(), table)

    def _record(self) -> dict[str, Any]:
        record = self.lake.run_record(self.run_id)
        assert record is not None
        return record

    def _update(self, *, capture_seconds: float = 0.0, finished_at: datetime | None = None) -> None:
        record = self._record()
        record["capture_seconds"] += capture_seconds
        record["finished_at"] = finished_at or record["finished_at"]
        self.lake.update_run(self.run_id, record)


def capture_run(
    session: CaptureSession,
    capture_shard: Callable[[CaptureSession, int], int] = CaptureSession.capture,
) -> CaptureSummary:
    """Capture every pending shard with `capture_shard(session, shard)` and finish the run."""
    if not session.pending:
        say(f"{session.run_id} is finished: nothing to capture")
    elif len(session.pending) < session.shards:
        landed = session.shards - len(session.pending)
        say(f"resuming {session.run_id}: {landed} of {session.shards} shards have landed")
    with session, bar("capturing shards", session.shards) as moved:
        for shard in session.pending:
            capture_shard(session, shard)
            moved(shard + 1)
    return session.finish()


def run_spec(request: RunRequest, prepared: Prepared, plan: ModelPlan) -> RunSpec:
    """Return the run's identity."""
    return RunSpec(
        model=plan.name,
        model_fingerprint=plan.fingerprint,
        tokenizer_fingerprint=tokenizer_fingerprint(plan.tokenizer),
        dataset=prepared.dataset,
        dataset_fingerprint=prepared.fingerprint,
        first_sample=prepared.first_sample,
        num_samples=prepared.num_samples,
        max_length=request.max_length,
        windows=request.windows,
        dtype=plan.dtype,
        quantization=plan.quantization,
        attention_implementation=plan.attention_implementation,
        experts_implementation=plan.experts_implementation,
        trust_remote_code=plan.source.trust_remote_code,
    )
