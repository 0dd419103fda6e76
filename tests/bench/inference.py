"""`make bench-inference`: what caches of experts cost, for every number of slots at once.

65,536 tokens, 48 layers, top-8 of 128 experts that a text with a few topics chooses: CPU seconds of
each policy on one core, and the peak memory of the process.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from gatehouse.reports.inference import Accesses, belady, by_layer, hits, lfu, lru, static
from tests.bench.statistics import Budget, megabytes, within

TOKENS, LAYERS, EXPERTS, TOP_K = 65_536, 48, 128, 8
TOPICS, TOKENS_OF_A_TOPIC = 16, 512
SECONDS_BUDGET = 30.0


def made_up(tokens: int, layers: int, experts: int, top_k: int) -> Accesses:
    """Return a text whose topics prefer some experts, one stream for each layer."""
    random = np.random.default_rng(0)
    preferred = random.normal(size=(TOPICS, layers, experts))
    chosen = np.empty((tokens, layers, top_k), np.int32)
    for start in range(0, tokens, TOKENS_OF_A_TOPIC):
        some = min(TOKENS_OF_A_TOPIC, tokens - start)
        scores = preferred[random.integers(TOPICS)] + random.gumbel(size=(some, layers, experts))
        best = np.argpartition(-scores, top_k - 1, axis=2)[:, :, :top_k]
        chosen[start : start + some] = np.sort(best, axis=2)
    return by_layer([chosen], experts)


def policies(accesses: Accesses) -> dict[str, Callable[[], np.ndarray]]:
    """Return what is measured, by name."""
    return {
        "lru": lambda: lru(accesses),
        "lfu": lambda: lfu(accesses),
        "belady": lambda: belady(accesses),
        "static": lambda: static(accesses, accesses.uses),
    }


def measured(accesses: Accesses, screen: Console) -> list[Budget]:
    """Print seconds and hit rates of each policy; return whether the budget is met."""
    table = Table("policy", "CPU seconds", "hit rate at 1/8", "at 1/4", "at 1/2 of the experts")
    total = 0.0
    for name, distances in policies(accesses).items():
        started = time.process_time()
        found = hits(accesses, distances()).sum(axis=0) / accesses.counts.sum()
        seconds = time.process_time() - started
        total += seconds
        sizes = [accesses.num_experts // part for part in (8, 4, 2)]
        table.add_row(name, f"{seconds:.1f}", *(f"{found[size]:.1%}" for size in sizes))
    screen.print(table)
    return [within("all caches, CPU seconds", total, SECONDS_BUDGET)]


def main() -> None:
    """Measure and print the tables."""
    screen = Console()
    accesses = made_up(TOKENS, LAYERS, EXPERTS, TOP_K)
    budgets = measured(accesses, screen)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    table = Table("what", "measured", "budget", "", title=f"Budgets; peak {megabytes(peak)}")
    for what, found, budget, held in budgets:
        table.add_row(what, found, budget, "met" if held else "[red]NOT MET[/red]")
    screen.print(table)


if __name__ == "__main__":
    main()
