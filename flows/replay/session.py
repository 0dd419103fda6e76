"""One replay: held-out text runs once untouched and once per policy, and what it cost lands."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from gatehouse.flows.console import say, working
from gatehouse.flows.replay.on_workers import measured_by_workers
from gatehouse.flows.replay.parts import PartReplay
from gatehouse.flows.replay.planned import Part, PlannedReplay, samples_of
from gatehouse.flows.replay.request import ReplayRequest
from gatehouse.flows.steps.workers import part as ranks
from gatehouse.warehouse.notes.replaying import (
    Replaying,
    forget_replaying,
    keep_replaying,
    replaying_of,
)
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted


@dataclass(frozen=True)
class RankSummary:
    """What a rank leaves when samples of other ranks are still to be replayed."""

    run_id: str
    rank: ranks.Part
    left: int

    @property
    def line(self) -> str:
        """One sentence for people."""
        return (
            f"{self.run_id}: {self.rank} has replayed its samples; "
            f"{counted(self.left, 'sample')} are left to the others, and the last one builds the "
            "marts and reports"
        )


class ReplaySession:
    """A run being replayed, locked while entered. It loads weights only if a part is pending.

    Args:
        run_id: a finished run of the lake, which the marts hold as it is there.
        request: which policies, over how much text, and by how many workers.
        paths: the warehouse.
        rank: the parts that are this process's to measure, beside others; None for all.

    Attributes:
        pending: the parts to measure, known once entered.
        policies: those of the request, and their controls.

    Raises:
        GatehouseError: the run was not captured, ran code that is not trusted now, or has no
            held-out text; on entering, another process writes this run, its model has changed, or
            a policy lacks what it needs.
    """

    def __init__(
        self, run_id: str, request: ReplayRequest, paths: Paths, rank: ranks.Part | None = None
    ) -> None:
        self._replay = PlannedReplay(run_id, request, paths)
        self.run_id = run_id
        self.policies = self._replay.policies
        self.pending: list[Part] = []
        self._rank = rank or ranks.WHOLE
        self._shared = bool(request.asked_workers or rank)
        self._measure: Callable[[Part], int] | None = None
        self._is_under_way = False
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(self._replay)
            opening.enter_context(self._replay.lake.locks.held(self.run_id, together=self._shared))
            self.pending = self._find_pending()
            if self.pending:
                self._check_policies()
                self._measure = opening.enter_context(self._measuring())
                self._announce()
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if self._is_under_way and exception[0] is None and not self.left():
                self._forget()
        finally:
            self._open.close()
            self._measure = None

    def _find_pending(self) -> list[Part]:
        found = self._replay.pending(self._rank)
        all_of_it = len(self._replay.sample_ids) * len(self.policies)
        left = sum(len(part.keys) for part in self._replay.pending())
        if left == 0:
            self._forget()
            say(f"{self.run_id} is replayed: nothing to measure")
        elif found and left < all_of_it:
            say(
                f"resuming the replay of {self.run_id}: {counted(samples_of(found), 'sample')} left"
            )
        return found

    def _announce(self) -> None:
        """Let `gatehouse status` know what is replayed, by whatever processes."""
        begun = self._stated(datetime.now(UTC), len(self._replay.sample_ids) - self.left())
        keep_replaying(self._replay.lake.root, self.run_id, begun)
        self._is_under_way = True

    def _forget(self) -> None:
        kept = replaying_of(self._replay.lake.root, self.run_id)
        if kept and kept.is_of(self._stated(kept.begun_at, kept.begun_with)):
            forget_replaying(self._replay.lake.root, self.run_id)

    def _stated(self, begun_at: datetime, begun_with: int) -> Replaying:
        policy_ids = tuple(sorted(each.policy_id for each in self.policies))
        return Replaying(policy_ids, tuple(self._replay.sample_ids), begun_at, begun_with)

    def _check_policies(self) -> None:
        """Make each policy once, so that what one lacks is said before the weights are loaded."""
        first = self.pending[0]
        with working("reading tables"):
            for policy in first.policies:
                self._replay.makers.of(policy, first.sample_ids)

    @contextmanager
    def _measuring(self) -> Iterator[Callable[[Part], int]]:
        here = PartReplay(self._replay)
        if self._replay.request.asked_workers:
            with measured_by_workers(self._replay, here, self.pending) as wait:
                yield wait
        else:
            here.load()
            yield here.measure

    def measure(self, part: Part) -> int:
        """Replay one part and land it; return its number of samples.

        Raises:
            GatehouseError: the model cannot be replayed, its own routing changes what it computes,
                or a disk that cannot be written.
        """
        if self._measure is None:
            raise RuntimeError("enter the session before measuring")
        return self._measure(part)

    def left(self) -> int:
        """Return how many samples have not been replayed under every policy."""
        return samples_of(self._replay.pending())
