"""What a build may use of the machine: its threads and its memory."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatehouse.warehouse.errors import GatehouseError

THREADS, MEMORY_LIMIT = "GATEHOUSE_THREADS", "GATEHOUSE_MEMORY_LIMIT"
"""The variables that say how many threads and how much memory, in place of what the machine has."""

MOST_THREADS = 1024
LEAST_MEMORY = 256 * 2**20
SHARE_OF_MEMORY = 0.6
"""What DuckDB counts is not all that the process holds, and others need some, too."""

MODELS_AT_ONCE = 4
"""More would hold more groups in memory; DuckDB spreads each model over all threads."""

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B", re.IGNORECASE)


@dataclass(frozen=True)
class Share:
    """Threads of DuckDB, and bytes that it may hold before it spills to the disk."""

    threads: int
    memory: int

    @property
    def models_at_once(self) -> int:
        """How many models dbt runs at a time."""
        return min(self.threads, MODELS_AT_ONCE)

    def divided(self, processes: int) -> "Share":
        """Return what each of so many processes may use; none goes without."""
        return Share(max(self.threads // processes, 1), max(self.memory // processes, LEAST_MEMORY))

    def as_environment(self) -> dict[str, str]:
        """Return the variables from which dbt's profile takes it."""
        return {THREADS: str(self.threads), MEMORY_LIMIT: f"{self.memory}B"}


def share_of_machine(root: Path = Path("/")) -> Share:
    """Return what a build may use: what the environment says, else what the machine has.

    That is all cores that this process may run on, and 60 % of the memory; of a control group, as
    of a container or a batch job, its limits (v1 and v2, and those of the groups around it).

    Args:
        root: the folder that has `proc` and `sys`.

    Raises:
        GatehouseError: the environment says what is no number of threads, or no size.
    """
    threads, memory = os.environ.get(THREADS), os.environ.get(MEMORY_LIMIT)
    return Share(
        checked_threads(threads, THREADS) if threads else cores(root),
        checked_memory(memory, MEMORY_LIMIT) if memory else int(_memory(root) * SHARE_OF_MEMORY),
    )


def checked_threads(words: str, name: str) -> int:
    """Return a number of threads.

    Args:
        words: as the user gave it.
        name: of the option or the variable.

    Raises:
        GatehouseError: it is none.
    """
    if not re.fullmatch(r"\d{1,9}", words) or not 1 <= int(words) <= MOST_THREADS:
        raise GatehouseError(f"{name} {words}: give a number of threads, 1 to {MOST_THREADS:,}")
    return int(words)


def checked_memory(words: str, name: str) -> int:
    """Return the bytes of a size, such as 8GB or 512 MiB.

    Args:
        words: as the user gave it.
        name: of the option or the variable.

    Raises:
        GatehouseError: it is none, or too small for any build.
    """
    found = SIZE.fullmatch(words.strip())
    if found:
        number, unit, binary = found.groups()
        units = BINARY_UNITS if binary else UNITS
        size = float(number) * units.get(unit.upper(), 1)
        if LEAST_MEMORY <= size < math.inf:
            return int(size)
    raise GatehouseError(f"{name} {words}: give a size of 256MiB or more, such as 8GB")


def cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, limits of control groups respected."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    # part of a core is worth a thread
    quotas = [max(math.ceil(quota), 1) for quota in _cpu_quotas(root)]
    return min([cores, MOST_THREADS, *quotas])


def _memory(root: Path) -> int:
    """Return bytes of memory, at least those that a build needs."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [int(words) for words in _memory_limits(root) if words.isdigit()]
    return max(min([whole, *limits]), math.ceil(LEAST_MEMORY / SHARE_OF_MEMORY))


def _memory_limits(root: Path) -> Iterator[str]:
    yield from _read(root, "", "memory.max")
    yield from _read(root, "memory", "memory.limit_in_bytes")


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the numbers of cores to which control groups limit this process."""
    pairs = [tuple(words.split()) for words in _read(root, "", "cpu.max")]
    pairs += zip(
        _read(root, "cpu", "cpu.cfs_quota_us"),
        _read(root, "cpu", "cpu.cfs_period_us"),
        strict=False,
    )
    for quota, period in pairs:
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _read(root: Path, controller: str, name: str) -> Iterator[str]:
    """Yield what a file says in this process's control group and in those around it.

    Args:
        root: the folder that has `proc` and `sys`.
        controller: that of a group of v1; none for v2.
        name: of the file.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounted = root / "sys/fs/cgroup" / controller
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        group = mounted / place.strip("/")
        # a container sees its own group as the outermost, whatever the place is called outside
        for folder in dict.fromkeys([group, *group.parents]):
            if folder.is_relative_to(mounted) and (folder / name).is_file():
                yield (folder / name).read_text().strip()
