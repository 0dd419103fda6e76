"""One run from prepared samples to a finished lake: resumable shard by shard."""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

import pyarrow as pa

from gatehouse.flows.console import bar, listed, say, working
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.identity import plan_model, run_spec, what_changed
from gatehouse.flows.steps.metrics import MetricsFile
from gatehouse.flows.steps.prepare import prepare_samples
from gatehouse.flows.steps.progress import Pace, Told
from gatehouse.flows.steps.reuse import take_over
from gatehouse.flows.steps.tokens import ShardTokens
from gatehouse.ingest.prepare import Prepared, describe_shard, read_shard, shard_count
from gatehouse.ingest.windows import batches
from gatehouse.models.capture import RoutingTap, captured
from gatehouse.models.structure import weights_line
from gatehouse.models.text.generation import generating_class
from gatehouse.models.tokenizer import vocabulary
from gatehouse.models.zoo import ModelPlan, versions
from gatehouse.warehouse.lake import Lake
from gatehouse.warehouse.notes.readings import Reading, keep_reading, reading_of
from gatehouse.warehouse.notes.run_names import name_run
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted, repeated
from gatehouse.warehouse.records import CAPTURE, LAKE_VERSION, VOCABULARY


@dataclass(frozen=True)
class CaptureSummary:
    """What a run holds when all its shards have landed."""

    run_id: str
    samples: int
    duplicate_samples: int
    tokens: int
    dropped_tokens: int
    moe_layers: int
    seconds: float

    @property
    def line(self) -> str:
        """One sentence for people."""
        samples = f"{counted(self.samples, 'sample')}{repeated(self.duplicate_samples)}"
        return (
            f"{self.run_id}: {samples}, {counted(self.tokens, 'token')} x "
            f"{counted(self.moe_layers, 'MoE layer')} = "
            f"{counted(self.tokens * self.moe_layers, 'event')}; "
            f"{counted(self.dropped_tokens, 'token')} beyond --max-length dropped"
        )


class CaptureSession:
    """A run being captured, locked while entered. It loads weights only if a shard is pending.

    Args:
        request: how to run the model.
        plan: the resolved model.
        prepared: the samples.
        paths: the warehouse.
        distrusted: shards to capture again although they have landed.

    Attributes:
        pending: the shards to capture, known once entered.

    Raises:
        GatehouseError: the tokenizer cannot be loaded, or has no template for the samples' chats,
            or the lake has another version; on entering, another process captures this run, or the
            record of a shard is damaged.
    """

    def __init__(
        self,
        request: RunRequest,
        plan: ModelPlan,
        prepared: Prepared,
        paths: Paths,
        distrusted: Collection[int] = (),
    ) -> None:
        self.request = request
        self.prepared = prepared
        self.lake = Lake(paths.lake)
        self.plan = plan
        self.spec = run_spec(request, prepared, plan)
        self.run_id = self.spec.run_id
        self.shards = shard_count(prepared.path)
        self.pending: list[int] = []
        self._distrusted = distrusted
        self._tokens: ShardTokens | None = None
        self._tap: RoutingTap | None = None
        self._fits: int | None = None
        self._started = datetime.now(UTC)
        self._described = False
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(self.lake.writing(self.run_id))
            self.lake.remove_leftovers(self.run_id)
            self.pending = self._find_pending()
            self._take_over()
            self._keep_name()
            if self.pending:
                with working(f"loading {self.plan.name}"):
                    head = generating_class(self.plan) if self.request.generate else None
                    loaded = self.plan.load(head=head)
                say(weights_line(loaded))
                self._tap = opening.enter_context(
                    RoutingTap(loaded.model, output_norms=self.request.output_norms)
                )
                self._tokens = ShardTokens(self.request, self.plan, loaded, self._tap.batching)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model and of the run's lock."""
        self._open.close()
        self._tokens = self._tap = None

    def _find_pending(self) -> list[int]:
        self._described = self.lake.is_described(self.run_id)
        if not self._described:
            # `verify --repair` would need the description to record the shards again
            self.lake.forget_damaged_shards(self.run_id)
        landed, recorded = self.lake.finished_shards(self.run_id), self.lake.shards(self.run_id)
        if lost := sorted(set(recorded) - landed):
            gone = listed("shard", lost)
            say(f"{gone} of {self.run_id} landed and went missing or changed: captured again")
        trusted = landed - set(self._distrusted)
        pending = [shard for shard in range(self.shards) if shard not in trusted]
        if pending:
            changed = None if recorded else what_changed(self.spec, self.lake)
            if changed:
                say(f"{changed}: starting a new run, {self.run_id}")
            if trusted:
                have = "has" if len(trusted) == 1 else "have"
                say(f"resuming {self.run_id}: {len(trusted)} of {self.shards} shards {have} landed")
        elif not self._described:
            # only the running model can describe the run: capture one shard again
            pending = [0]
        else:
            say(f"{self.run_id} is finished: nothing to capture")
        return pending

    def _take_over(self) -> None:
        """Land those pending shards whose samples other runs of the same model have landed."""
        takable = [shard for shard in self.pending if shard not in self._distrusted]
        if not takable:
            return
        samples_of = partial(describe_shard, self.prepared.path)
        taken = take_over(self.lake, self.run_id, self._record(), takable, samples_of)
        if not taken:
            return
        self._described = True
        self._keep_reading()
        self.pending = [shard for shard in self.pending if shard not in taken]
        runs = " and ".join(sorted(set().union(*taken.values())))
        say(f"{listed('shard', taken)} of {self.run_id}: landed by {runs}, not captured again")

    def capture(self, shard: int) -> int:
        """Capture one shard and land it; return its number of tokens.

        Raises:
            GatehouseError: routing that cannot be trusted, or a disk that cannot be written.
        """
        if not (self._tokens and self._tap):
            raise RuntimeError("enter the session before capturing")
        started = time.monotonic()
        windows, samples = self._tokens.of(read_shard(self.prepared.path, shard))
        token_budget = self.request.batch_size * self.request.max_length
        # not in the run's own folder, which would be a run's before the run is described
        beside = self.lake.folder("events", self.run_id).parent
        with captured(self._tap, batches(windows, token_budget=token_budget), beside) as events:
            self._say_if_memory_ran_out()
            if not self._described:
                self._land_run()
                self._described = True
                self._keep_name()
            self.lake.land_shard(
                self.run_id, shard, samples, events, seconds=time.monotonic() - started
            )
        return sum(samples["tokens"].to_pylist())

    @property
    def moe_layers(self) -> int:
        """How many MoE layers are captured, 0 while the model is not loaded."""
        return len(self._tap.sites) if self._tap else 0

    def _say_if_memory_ran_out(self) -> None:
        fits = self._tap.memory.positions if self._tap else None
        if fits != self._fits:
            say(f"out of memory: going on with at most {fits:,} token positions a batch")
            self._fits = fits

    def _keep_name(self) -> None:
        # a run that has not landed yet has no place for a name
        if self.request.name and self._described:
            name_run(self.lake.root, self.run_id, self.request.name)

    def finish(self) -> CaptureSummary:
        """Close the run once every shard has landed; a finished run stays as it is."""
        missing = set(range(self.shards)) - self.lake.finished_shards(self.run_id)
        if missing:
            raise RuntimeError(f"shards {sorted(missing)[:5]} have not landed")
        record = self.lake.finish_run(self.run_id)
        tokens, dropped = self.lake.tokens(self.run_id)
        return CaptureSummary(
            run_id=self.run_id,
            samples=self.prepared.num_samples,
            duplicate_samples=self.prepared.duplicates,
            tokens=tokens,
            dropped_tokens=dropped,
            moe_layers=self.lake.layers(self.run_id).num_rows,
            seconds=record["capture_seconds"],
        )

    def _keep_reading(self) -> None:
        reading = Reading(
            self.request.text_field,
            self.request.domain_field,
            self.prepared.files_opened,
            self.prepared.files_left_out,
            self.request.chat_as_text,
        )
        if reading_of(self.lake.root, self.run_id) != reading:
            keep_reading(self.lake.root, self.run_id, reading)

    def _record(self) -> dict[str, Any]:
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
            "started_at": self._started,
            "finished_at": None,
            "capture_seconds": 0.0,
            "source": CAPTURE,
            "source_files": None,
            "has_token_ids": True,
        }

    def _land_run(self) -> None:
        assert self._tap is not None
        self._keep_reading()
        table = pa.Table.from_pylist(vocabulary(self.plan.tokenizer), schema=VOCABULARY)
        self.lake.land_run(self.run_id, self._record(), self._tap.layers(), table)


@dataclass(frozen=True)
class CaptureSteps:
    """The steps of a capture, as a flow may show them.

    Attributes:
        load: enters the session.
        capture: captures one of its shards; returns its number of tokens.
        finish: closes the run.
    """

    load: Callable[[CaptureSession], CaptureSession] = CaptureSession.__enter__
    capture: Callable[[CaptureSession, int], int] = CaptureSession.capture
    finish: Callable[[CaptureSession], CaptureSummary] = CaptureSession.finish


def capture_run(
    session: CaptureSession, steps: CaptureSteps = CaptureSteps(), told: tuple[Told, ...] = ()
) -> CaptureSummary:
    """Capture every pending shard and finish the run; `told` hears how far it is."""
    steps.load(session)
    try:
        pace = Pace(session.run_id, session.shards, len(session.pending), told)
        # the time that is left follows from the shards captured here
        with bar("capturing shards", len(session.pending)) as moved:
            for done, shard in enumerate(session.pending, start=1):
                tokens = steps.capture(session, shard)
                moved(done)
                pace.moved(tokens, session.moe_layers)
            return steps.finish(session)
    finally:
        session.close()


def told_by(request: RunRequest, paths: Paths) -> tuple[Told, ...]:
    """Return what the request itself names that is told how far a capture is: a file of metrics.

    Raises:
        GatehouseError: the file cannot be written.
    """
    return (MetricsFile(request.metrics, paths),) if request.metrics else ()


def capture(request: RunRequest, paths: Paths) -> CaptureSummary:
    """Prepare and capture one run into the lake; what has landed is not captured again.

    Args:
        request: what to capture, and how.
        paths: the warehouse.

    Raises:
        GatehouseError: bad input, routing that cannot be trusted, or a disk that cannot be written.
    """
    told = told_by(request, paths)
    plan = plan_model(request)
    prepared = prepare_samples(request, paths.prepared)
    return capture_run(CaptureSession(request, plan, prepared, paths), told=told)
