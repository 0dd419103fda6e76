"""All statistics of a run's evidence, on a made-up run: `python -m tests.bench.evidence`.

24,000 tokens, 32 layers, 64 blocks of documents; seconds of each, and the process's peak memory.
"""

import resource
import time
from collections.abc import Callable, Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from gatehouse.reports import statistics
from gatehouse.reports.statistics import Blocks

TOKENS, LAYERS, BLOCKS, EXPERTS, TOP_K = 24_000, 32, 64, 64, 8
OCCURRENCES = 4_000_000
SECONDS_BUDGET, MEMORY_BUDGET = 60, 2_000
"""Seconds for all of them, and megabytes resident."""


def made_up_layers() -> Iterator[Blocks]:
    """Yield each layer's blocks: Zipf frequencies, entropies that fall with them."""
    random = np.random.default_rng(0)
    shares = (np.arange(1, TOKENS + 1) + 3.0) ** -1.05
    rates = OCCURRENCES / BLOCKS * shares / shares.sum()
    occurrences = random.poisson(random.gamma(2, rates / 2, (BLOCKS, TOKENS))).astype(np.float64)
    occurrences[0, occurrences.sum(axis=0) == 0] = 1
    base = 1.2 - 0.1 * np.log(occurrences.sum(axis=0))
    for _ in range(LAYERS):
        level = base + random.normal(0, 0.3, TOKENS)
        means = level + random.normal(0, 0.1, (BLOCKS, TOKENS))
        yield Blocks(np.arange(TOKENS), occurrences, occurrences * np.clip(means, 0, np.log(8)))


def works() -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    frequency = next(made_up_layers()).occurrences.sum(axis=0)
    entropies = np.array([each.entropy_sum.sum(axis=0) for each in made_up_layers()]) / frequency
    random = np.random.default_rng(1)
    loads = random.dirichlet(np.full(EXPERTS, 5.0), LAYERS)
    held = random.normal(size=TOKENS)
    return {
        "correlations, tau, partial, minima, Holm": lambda: statistics.holm(
            [log10_p(frequency, layer, held) for layer in entropies]
        ),
        "permutation nulls": lambda: statistics.permutation_nulls(frequency, entropies),
        "making up the layers": lambda: sum(len(each.occurrences) for each in made_up_layers()),
        "bootstrap, layers made up again": lambda: statistics.bootstrap(made_up_layers()),
        "rarefaction, layers made up again": lambda: [
            statistics.rarefaction(each) for each in made_up_layers()
        ],
        "random consistency": lambda: [
            statistics.random_consistency(frequency, load) for load in loads
        ],
        f"random specialisation, top {TOP_K} of {EXPERTS}": lambda: [
            statistics.random_specialisation(frequency, load, TOP_K) for load in loads
        ],
        "Zipf": lambda: statistics.fit_zipf(frequency),
    }


def main() -> None:
    """Measure and print the table."""
    table = Table("what", "seconds")
    total = 0.0
    for what, work in works().items():
        started = time.perf_counter()
        work()
        total += (seconds := time.perf_counter() - started)
        table.add_row(what, f"{seconds:.1f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table.add_section()
    table.add_row(f"all, of {SECONDS_BUDGET} s", f"{total:.1f}")
    table.add_row(f"peak memory, of {MEMORY_BUDGET:,} MB", f"{peak:,.0f} MB")
    Console(width=100).print(table)
    if total > SECONDS_BUDGET or peak > MEMORY_BUDGET:
        raise SystemExit("over the budget")


def log10_p(frequency: np.ndarray, mean_entropy: np.ndarray, held: np.ndarray) -> float | None:
    """Return log10 p of one layer, after computing all that is reported about its correlation."""
    statistics.kendall(frequency, mean_entropy)
    statistics.partial_spearman(frequency, mean_entropy, held)
    statistics.spearman_by_minimum(frequency, mean_entropy)
    return statistics.frequency_entropy(frequency, mean_entropy).log10_p


if __name__ == "__main__":
    main()
