"""How far a capture is and how fast it goes: what its metrics and Prefect's pages are told."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Progress:
    """A capture at one moment.

    Attributes:
        run_id: the run.
        shards: of the whole run.
        shards_left: of these, not yet landed.
        shards_captured: landed by this process.
        tokens: token positions of the shards captured by this process.
        moe_layers: MoE layers of the model; 0 before the first shard.
        seconds: that this process has captured for, without loading the model.
        memory: bytes of memory that the process holds.
        gpu_memory: most bytes that its tensors have held on GPUs; None where none is used.
    """

    run_id: str
    shards: int
    shards_left: int
    shards_captured: int
    tokens: int
    moe_layers: int
    seconds: float
    memory: int
    gpu_memory: int | None

    @property
    def events(self) -> int:
        """Routing events of these tokens: one for each MoE layer."""
        return self.tokens * self.moe_layers

    @property
    def tokens_per_second(self) -> float | None:
        """The rate so far; None before the first shard."""
        return self.tokens / self.seconds if self.tokens and self.seconds else None

    @property
    def events_per_second(self) -> float | None:
        """The rate so far; None before the first shard."""
        rate = self.tokens_per_second
        return None if rate is None else rate * self.moe_layers

    @property
    def seconds_left(self) -> float | None:
        """What the shards that are left take at the rate so far; None before the first shard."""
        if not self.shards_captured:
            return None
        return self.seconds / self.shards_captured * self.shards_left


Told = Callable[[Progress], None]
"""What is told how far a capture is: once at its beginning, and after every shard."""


class Pace:
    """Measures a capture and tells whoever wants to know.

    Args:
        run_id: the run.
        shards: of the whole run.
        left: of these, to be captured.
        told: who is told.
    """

    def __init__(self, run_id: str, shards: int, left: int, told: tuple[Told, ...]) -> None:
        self._run_id = run_id
        self._shards = shards
        self._left = left
        self._told = told
        self._captured = self._tokens = self._layers = 0
        self._started = time.monotonic()
        self._tell()

    def moved(self, tokens: int, moe_layers: int) -> None:
        """Take notice of a shard that has landed, and tell."""
        self._captured += 1
        self._tokens += tokens
        self._layers = moe_layers
        self._tell()

    def _tell(self) -> None:
        if not self._told:
            return
        progress = Progress(
            run_id=self._run_id,
            shards=self._shards,
            shards_left=self._left - self._captured,
            shards_captured=self._captured,
            tokens=self._tokens,
            moe_layers=self._layers,
            seconds=time.monotonic() - self._started,
            memory=memory_held(),
            gpu_memory=gpu_memory_held(),
        )
        for tell in self._told:
            tell(progress)


def memory_held() -> int:
    """Return bytes of memory that this process holds."""
    held: int = psutil.Process().memory_info().rss
    return held


def gpu_memory_held() -> int | None:
    """Return the most bytes that this process's tensors have held on all GPUs, None without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    from gatehouse.models.structure import peak_on_gpus

    return peak_on_gpus()
