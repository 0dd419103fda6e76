"""The shards of a run, captured one after another in this process."""

import time
from collections.abc import Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

import pyarrow as pa

from gatehouse.flows.console import listed, say, working
from gatehouse.flows.steps.planned import PlannedRun
from gatehouse.flows.steps.reuse import take_over
from gatehouse.flows.steps.tokens import ShardTokens
from gatehouse.ingest.prepare import describe_shard, read_shard
from gatehouse.ingest.windows import batches
from gatehouse.models.capture import RoutingTap, captured
from gatehouse.models.structure import weights_line
from gatehouse.models.text.generation import generating_class
from gatehouse.models.tokenizer import vocabulary
from gatehouse.warehouse.records import VOCABULARY


class ShardCapture:
    """Captures shards while entered, with a model that is loaded once.

    Args:
        run: whose shards they are; the caller holds its lock.
        shared: whether other processes capture its shards too; then one that has landed meanwhile
            stays as it is.
    """

    def __init__(self, run: PlannedRun, *, shared: bool = False) -> None:
        self._run = run
        self._shared = shared
        self._tokens: ShardTokens | None = None
        self._tap: RoutingTap | None = None
        self._fits: int | None = None
        self._described = False
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()
        self._tokens = self._tap = None

    def take_over(self, shards: Collection[int]) -> set[int]:
        """Land those shards whose samples other runs of the same model have landed; return them."""
        run = self._run
        samples_of = partial(describe_shard, run.prepared.path)
        taken = take_over(run.lake, run.run_id, run.record(), shards, samples_of)
        if taken:
            run.keep_reading()
            run.keep_name()
            runs = " and ".join(sorted(set().union(*taken.values())))
            say(f"{listed('shard', taken)} of {run.run_id}: landed by {runs}, not captured again")
        return set(taken)

    def load(self) -> None:
        """Load the model if it is not there yet.

        Raises:
            GatehouseError: it cannot be loaded.
        """
        if self._tap:
            return
        run = self._run
        with working(f"loading {run.plan.name}"):
            head = generating_class(run.plan) if run.request.generate else None
            loaded = run.plan.load(head=head)
        say(weights_line(loaded))
        self._tap = self._open.enter_context(
            RoutingTap(loaded.model, output_norms=run.request.output_norms)
        )
        self._tokens = ShardTokens(run.request, run.plan, loaded, self._tap.batching)

    def capture(self, shard: int) -> int:
        """Capture one shard and land it; return its number of tokens.

        Raises:
            GatehouseError: routing that cannot be trusted, or a disk that cannot be written.
        """
        if self._shared and (landed := self._run.landed(shard)) is not None:
            return landed
        self.load()
        assert self._tokens and self._tap
        started = time.monotonic()
        run = self._run
        windows, samples = self._tokens.of(read_shard(run.prepared.path, shard))
        token_budget = run.request.batch_size * run.request.max_length
        # not in the run's own folder, which would be a run's before the run is described
        place = run.lake.folder("events", run.run_id).parent
        beside = place if isinstance(place, Path) else None
        with captured(self._tap, batches(windows, token_budget=token_budget), beside) as events:
            self._say_if_memory_ran_out(self._tap)
            self._describe(self._tap)
            run.lake.land_shard(
                run.run_id,
                shard,
                samples,
                events,
                seconds=time.monotonic() - started,
                again=not self._shared,
            )
        return sum(samples["tokens"].to_pylist())

    def _say_if_memory_ran_out(self, tap: RoutingTap) -> None:
        fits = tap.memory.positions
        if fits != self._fits:
            say(f"out of memory: going on with at most {fits:,} token positions a batch")
            self._fits = fits

    def _describe(self, tap: RoutingTap) -> None:
        """Land the run's description before its first shard."""
        run = self._run
        if not (self._described or run.lake.is_described(run.run_id)):
            run.keep_reading()
            table = pa.Table.from_pylist(vocabulary(run.plan.tokenizer), schema=VOCABULARY)
            run.lake.land_run(run.run_id, run.record(), tap.layers(), table)
            run.keep_name()
        self._described = True
