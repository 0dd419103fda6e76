"""One run from prepared samples to a finished lake: resumable shard by shard."""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from gatehouse.flows.console import bar, listed, say
from gatehouse.flows.request import RunRequest
from gatehouse.flows.steps.identity import plan_model, what_changed
from gatehouse.flows.steps.pace.metrics import MetricsFile
from gatehouse.flows.steps.pace.progress import Pace, Told
from gatehouse.flows.steps.planned import PlannedRun
from gatehouse.flows.steps.prepare import prepare_samples
from gatehouse.flows.steps.shards import ShardCapture
from gatehouse.flows.steps.workers.capturing import captured_by_workers
from gatehouse.flows.steps.workers.devices import take_own_gpu
from gatehouse.flows.steps.workers.part import WHOLE, Part, PartSummary
from gatehouse.ingest.prepare import Prepared
from gatehouse.models.zoo import ModelPlan
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted, repeated


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
    """A run being captured, locked while entered.

    Args:
        request: how to run the model, and by how many workers.
        plan: the resolved model.
        prepared: the samples.
        paths: the warehouse.
        distrusted: shards to capture again although they have landed.
        part: the shards that are this process's to capture, beside others; None for all.

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
        part: Part | None = None,
    ) -> None:
        self._run = PlannedRun(request, plan, prepared, paths)
        self.run_id, self.shards = self._run.run_id, self._run.shards
        self.pending: list[int] = []
        self._distrusted = distrusted
        self._part = part or WHOLE
        self._shared = bool(request.asked_workers or part)
        self._capture: Callable[[int], int] | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        run, lake = self._run, self._run.lake
        with ExitStack() as opening:
            opening.enter_context(lake.locks.held(self.run_id, together=self._shared))
            described = lake.is_described(self.run_id)
            self.pending = self._find_pending(described)
            if described:
                run.keep_name()
            if self.pending:
                many = run.request.asked_workers
                capturing = captured_by_workers(run, self.pending) if many else self._here()
                self._capture = opening.enter_context(capturing)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model and of the run's lock."""
        self._open.close()
        self._capture = None

    @contextmanager
    def _here(self) -> Iterator[Callable[[int], int]]:
        """Capture in this process, which loads the weights if a shard has to be captured."""
        with ShardCapture(self._run, shared=self._shared) as here:
            takable = [shard for shard in self.pending if shard not in self._distrusted]
            taken = here.take_over(takable)
            self.pending = [shard for shard in self.pending if shard not in taken]
            if self.pending:
                here.load()
            yield here.capture

    def _find_pending(self, described: bool) -> list[int]:
        lake, run_id = self._run.lake, self.run_id
        if not (described or self._shared):
            # `verify --repair` would need the description to record the shards again
            lake.shards.forget_damaged(run_id)
        landed, recorded = lake.shards.finished(run_id), lake.shards.recorded(run_id)
        if lost := sorted(set(recorded) - landed):
            gone = listed("shard", lost)
            say(f"{gone} of {run_id} landed and went missing or changed: captured again")
        trusted = landed - set(self._distrusted)
        own = self._part.of_shards(self.shards)
        pending = [shard for shard in own if shard not in trusted]
        if pending:
            changed = None if recorded else what_changed(self._run.spec, lake)
            if changed:
                say(f"{changed}: starting a new run, {run_id}")
            if trusted:
                have = "has" if len(trusted) == 1 else "have"
                say(f"resuming {run_id}: {len(trusted)} of {self.shards} shards {have} landed")
        elif not described:
            # only the running model can describe the run: capture one shard again
            pending = own[:1]
        elif len(trusted) == self.shards:
            say(f"{run_id} is finished: nothing to capture")
        return pending

    def capture(self, shard: int) -> int:
        """Capture one shard and land it; return its number of tokens.

        Raises:
            GatehouseError: routing that cannot be trusted, or a disk that cannot be written.
        """
        if self._capture is None:
            raise RuntimeError("enter the session before capturing")
        return self._capture(shard)

    @cached_property
    def moe_layers(self) -> int:
        """How many MoE layers the run has; asked for once a shard has landed."""
        return self._run.lake.layers(self.run_id).num_rows

    def left(self) -> int:
        """Return how many shards have not landed."""
        return self.shards - len(self._run.lake.shards.finished(self.run_id))

    def finish(self) -> CaptureSummary:
        """Close the run once every shard has landed; a finished run stays as it is.

        Raises:
            RuntimeError: a shard has not landed.
            GatehouseError: the run's record cannot be read or written.
        """
        lake, prepared = self._run.lake, self._run.prepared
        if left := self.left():
            raise RuntimeError(f"{left} shards have not landed")
        record = lake.finish_run(self.run_id)
        tokens, dropped = lake.shards.tokens(self.run_id)
        return CaptureSummary(
            run_id=self.run_id,
            samples=prepared.num_samples,
            duplicate_samples=prepared.duplicates,
            tokens=tokens,
            dropped_tokens=dropped,
            moe_layers=lake.layers(self.run_id).num_rows,
            seconds=record["capture_seconds"],
        )


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


EACH_STEP = CaptureSteps()
"""The steps by themselves."""


def capture_run(
    session: CaptureSession, steps: CaptureSteps = EACH_STEP, told: tuple[Told, ...] = ()
) -> CaptureSummary:
    """Capture every pending shard and finish the run; `told` hears how far it is."""
    steps.load(session)
    try:
        _capture_pending(session, steps, told)
        return steps.finish(session)
    finally:
        session.close()


def _capture_pending(session: CaptureSession, steps: CaptureSteps, told: tuple[Told, ...]) -> None:
    pace = Pace(session.run_id, session.shards, len(session.pending), told)
    # the time that is left follows from the shards captured here
    with bar("capturing shards", len(session.pending)) as moved:
        for done, shard in enumerate(session.pending, start=1):
            tokens = steps.capture(session, shard)
            moved(done)
            pace.moved(tokens, session.moe_layers)


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


def capture_part(request: RunRequest, paths: Paths, part: Part) -> CaptureSummary | PartSummary:
    """Capture a rank's shards of a run; the rank that lands the last one finishes the run.

    Args:
        request: what to capture, and how; the same for every rank.
        paths: the warehouse, which the ranks share.
        part: which shards.

    Raises:
        GatehouseError: as `capture`.
    """
    told = told_by(request, paths)
    take_own_gpu(request.device_map)
    plan = plan_model(request)
    prepared = prepare_samples(request, paths.prepared)
    session = CaptureSession(request, plan, prepared, paths, part=part)
    with session:
        _capture_pending(session, EACH_STEP, told)
        # whoever lands the last shard sees that all have
        left = session.left()
        return PartSummary(session.run_id, part, session.shards, left) if left else session.finish()
