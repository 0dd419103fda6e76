"""From what was tried to what a whole run takes: events, hours, memory and room on the disk."""

import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gatehouse.flows.console import clock
from gatehouse.flows.sizing.measured import Build, build_of
from gatehouse.flows.sizing.trial import Trial
from gatehouse.flows.steps.machine import Share
from gatehouse.warehouse.plain_text import counted, in_bytes
from gatehouse.warehouse.storage.addresses import ObjectPath

DATABASES = 2
"""A build makes a new database beside the one that is there."""


@dataclass(frozen=True)
class Forecast:
    """What a run takes, if all of it is like what was tried.

    Attributes:
        name: of the model and the text.
        samples: of the run.
        tokens: that they have, about, unless `is_exact`.
        is_exact: whether all of the text was tokenized, and the model adds none.
        shards: of the run.
        landed: how many of these lie in the lake.
        trial: what two batches showed.
        batch: token positions of a batch.
        device: of the trial.
        share: of the machine, for the build.
        free_bytes: on the disk of the warehouse.
        bucket: where the lake is, if it is not on that disk.
    """

    name: str
    samples: int
    tokens: int
    is_exact: bool
    shards: int
    landed: int
    trial: Trial
    batch: int
    device: str
    share: Share
    free_bytes: int
    bucket: ObjectPath | None = None

    @property
    def events(self) -> int:
        """One for each token in each MoE layer."""
        return self.tokens * self.trial.moe_layers

    @property
    def rate(self) -> float:
        """Tokens a second, from text to a file of events."""
        return self.trial.tokens / self.trial.seconds

    @property
    def left(self) -> float:
        """The share of the run that has not landed."""
        return 1 - self.landed / self.shards

    @property
    def capture_seconds(self) -> float:
        """How long one process captures what has not landed."""
        return self.tokens * self.left / self.rate

    @property
    def lake_bytes(self) -> float:
        """Of the events that have not landed."""
        return self.events * self.left * self.trial.event_bytes

    @cached_property
    def build(self) -> Build:
        """What a build of this run alone takes."""
        return build_of(self.events, self.trial.top_k)

    @property
    def build_seconds(self) -> float:
        """With the threads that a build would use here."""
        return self.build.cpu_seconds / self.share.threads

    @property
    def disk_bytes(self) -> float:
        """What the disk of the warehouse has to have room for."""
        here = 0 if self.bucket else self.lake_bytes
        return here + DATABASES * self.build.database_bytes

    @property
    def fits(self) -> bool:
        """Whether it has."""
        return self.disk_bytes <= self.free_bytes

    def __str__(self) -> str:
        return "\n".join(f"{name:<10}{what}" for name, what in self._lines().items())

    def _lines(self) -> dict[str, str]:
        trial, about = self.trial, "" if self.is_exact else "about "
        weights = ", ".join(
            f"{part} {in_bytes(size)}" for part, size in trial.weights.items() if size
        )
        batch = trial.gpu_bytes - sum(trial.weights.values())
        gpu = f"; {in_bytes(batch)} on the GPU beside them for a batch" if batch > 0 else ""
        return {
            "run": f"{self.name}: {counted(self.samples, 'sample')}, {about}"
            f"{counted(self.tokens, 'token')} x {counted(trial.moe_layers, 'MoE layer')} = "
            f"{about}{counted(self.events, 'event')}",
            "capture": f"{clock(self.capture_seconds)} on {self.device}, at "
            f"{self.rate:,.0f} tokens/s in two batches of {self.batch:,} positions"
            f"{self._landed()}; {self._workers()}",
            "memory": f"weights {in_bytes(sum(trial.weights.values()))}: {weights}{gpu}; "
            f"{in_bytes(trial.process_bytes)} of the process",
            "lake": f"{in_bytes(self.lake_bytes)}, {trial.event_bytes:.1f} bytes an event"
            f"{f', in {self.bucket}' if self.bucket else ''}",
            "build": f"{clock(self.build_seconds)} with {counted(self.share.threads, 'thread')}, "
            f"{in_bytes(min(self.build.peak_bytes, self.share.memory))} of memory of the "
            f"{in_bytes(self.share.memory)} "
            "that it may use; what needs more goes to the disk",
            "disk": f"{in_bytes(self.disk_bytes)} of {in_bytes(self.free_bytes)} free: "
            f"{'' if self.bucket else 'the lake, and '}twice the database of "
            f"{in_bytes(self.build.database_bytes)}",
        }

    def _landed(self) -> str:
        if not self.landed:
            return ""
        return f" ({self.landed:,} of {counted(self.shards, 'shard')} landed before)"

    def _workers(self) -> str:
        open_shards = self.shards - self.landed
        if open_shards < 2:
            return (
                "one shard is left, so more workers would not help"
                if open_shards
                else ("all has landed")
            )
        return (
            f"2 workers with a device each take half, and at most {open_shards:,} have "
            "a shard to capture"
        )


def free_bytes(folder: Path) -> int:
    """Return the room on the disk of a folder that may not be there yet."""
    there = next(each for each in (folder, *folder.parents) if os.path.isdir(each))
    return shutil.disk_usage(there).free
