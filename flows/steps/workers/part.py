"""The part of a run that one of several processes captures, which do not talk to each other."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gatehouse.warehouse.errors import GatehouseError

FROM_THE_ENVIRONMENT = "auto"
WAYS = "torchrun (RANK, WORLD_SIZE) or a SLURM job array (SLURM_ARRAY_TASK_ID, _COUNT)"


@dataclass(frozen=True)
class Part:
    """The shards whose number leaves the remainder `rank` when divided by `of`."""

    rank: int
    of: int

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.of}"

    def of_shards(self, shards: int) -> list[int]:
        """Return those of shards 0 … `shards - 1` that are in this part."""
        return list(range(self.rank, shards, self.of))


WHOLE = Part(0, 1)


def asked_part(
    rank: str | None, of: int | None, environment: Mapping[str, str] = os.environ
) -> Part | None:
    """Return the part that a command is to capture; None where it is no part of anything.

    Args:
        rank: a number, or `auto` for what a launcher says in the environment. Nothing there is
            heeded unasked: a job array may as well capture another run in each of its tasks.
        of: the number of ranks; None with `auto`.
        environment: the variables.

    Raises:
        GatehouseError: one without the other, no such part, or no launcher that says it.
    """
    if rank is None and of is None:
        return None
    if rank == FROM_THE_ENVIRONMENT:
        if of is not None:
            raise GatehouseError("--rank auto reads the number of ranks, too: leave --of out")
        return _checked(*_launched(environment))
    if rank is None or of is None:
        raise GatehouseError("--rank R --of N go together: R is 0 to N - 1")
    if not re.fullmatch(r"\d{1,9}", rank):
        raise GatehouseError(f"--rank {rank}: give a number from 0 on, or auto")
    return _checked(int(rank), of)


def _checked(rank: int, of: int) -> Part:
    if not 0 <= rank < of:
        raise GatehouseError(f"rank {rank} of {of}: ranks are numbered 0 to N - 1 of N")
    return Part(rank, of)


def _launched(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return (rank, number of ranks) as a launcher says."""

    def number(name: str, default: str = "") -> int:
        words = environment.get(name, default)
        if not re.fullmatch(r"\d{1,9}", words):
            raise GatehouseError(
                f"--rank auto: {name} is {words or 'not set'}; start this with {WAYS}, or name "
                "--rank R --of N"
            )
        return int(words)

    if "RANK" in environment or "WORLD_SIZE" in environment:
        return number("RANK"), number("WORLD_SIZE")
    # an array may begin anywhere and have a step
    first, step = number("SLURM_ARRAY_TASK_MIN", "0"), number("SLURM_ARRAY_TASK_STEP", "1")
    place = number("SLURM_ARRAY_TASK_ID") - first
    if step == 0 or place % step:
        raise GatehouseError(
            "--rank auto: number the tasks of the array evenly, as in --array=0-7, or name "
            "--rank R --of N"
        )
    return place // step, number("SLURM_ARRAY_TASK_COUNT")
