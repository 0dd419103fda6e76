"""How far the three criteria would move with other documents: a bootstrap over blocks of them.

Tokens of a document share its topic and its context, so occurrences are not an independent
sample; documents are. Each replicate is a random half of the blocks of documents, and every layer
sees the same halves.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gatehouse.reports.statistics.arrays import Array
from gatehouse.reports.statistics.blocks import Blocks, Resampled
from gatehouse.reports.statistics.intervals import Basis, Interval, rho_interval, share_interval

LEAST_BLOCKS = 8
"""With fewer, the spread between blocks is too poorly known for an interval."""


@dataclass(frozen=True)
class Bootstrapped:
    """Intervals of the three criteria; `undefined` says why one is None."""

    spearman: Interval | None
    low_entropy_share: Interval | None
    coverage: Interval | None
    undefined: str | None = None


@dataclass(frozen=True)
class BootstrappedRun:
    """Each layer's intervals, and those of the model: entropies of a token averaged over layers."""

    layers: tuple[Bootstrapped, ...]
    model: Bootstrapped


@dataclass(frozen=True)
class SampleSize:
    """The criteria on a `share` of the blocks: means over random orders, and their deviations.

    `occurrences` and `tokens` are means as well. Samples of one size overlap, so deviations
    understate how much other documents would differ; all blocks are one sample and have none.
    """

    share: float
    blocks: int
    occurrences: float
    tokens: float
    spearman: float | None
    low_entropy_share: float
    coverage: float
    spearman_deviation: float | None = None
    low_entropy_share_deviation: float | None = None
    coverage_deviation: float | None = None


def halves(blocks: int, replicates: int, seed: int = 0) -> Array:
    """Return (replicates, blocks): 2 for each block of a random half, 0 for each other.

    Of an odd number of blocks, one more counts once. Unlike drawing with repetition, which keeps
    a token of one block in 63 % of the replicates, halves let rare tokens come and go as often as
    they do between samples of documents, so they do not understate the spread of a share of tokens.

    Source: McCarthy (1969), Pseudo-replication: half samples; Shao & Wu (1989), A general theory
    for jackknife variance estimation; as a bootstrap: Praestgaard & Wellner (1993).
    """
    random = np.random.default_rng(seed)
    once = np.repeat([2.0, 1.0, 0.0], [blocks // 2, blocks % 2, blocks // 2])
    return random.permuted(np.tile(once, (replicates, 1)), axis=1)


def bootstrap(
    layers: Iterable[Blocks],
    frequency_threshold: int = 50,
    entropy_threshold: float = 0.5,
    *,
    replicates: int = 200,
    seed: int = 0,
) -> BootstrappedRun:
    """Return 95 % intervals of rho, of the share of low-entropy tokens, and of coverage.

    What they hold is the mean over samples of as many documents. `rho_interval` and
    `share_interval` say what their form is, and `python -m tests.tools.calibration` how often they
    and other forms hold the truth.

    Args:
        layers: blocks of each layer of one run, read one at a time, with the same occurrences.
        frequency_threshold: occurrences, exclusive; `entropy_threshold`, nats, exclusive.
        replicates: how many halves of the blocks.

    Raises:
        ValueError: there is no layer, or layers differ in their occurrences.
    """
    found: list[Bootstrapped] = []
    first, resampled, summed = None, None, np.zeros(0)
    for layer in layers:
        if first is None:
            first, summed = layer, np.zeros_like(layer.entropy_sum)
            basis = Basis.of_occurrences(layer.occurrences)
            resampled = _resampled(layer.occurrences, frequency_threshold, replicates, seed)
        elif not np.array_equal(layer.occurrences, first.occurrences):
            raise ValueError("the layers of a run must have the same occurrences")
        summed += layer.entropy_sum
        found.append(_bootstrapped(layer.entropy_sum, resampled, basis, entropy_threshold))
    if not found:
        raise ValueError("there is no layer to resample")
    summed /= len(found)
    model = _bootstrapped(summed, resampled, basis, entropy_threshold)
    return BootstrappedRun(tuple(found), model)


def _resampled(
    occurrences: Array, frequency_threshold: int, replicates: int, seed: int
) -> Resampled | None:
    blocks = len(occurrences)
    if blocks < LEAST_BLOCKS:
        return None
    weights = np.vstack([np.ones(blocks), halves(blocks, replicates, seed)])
    return Resampled(occurrences, weights, frequency_threshold)


def _bootstrapped(
    entropy_sum: Array, resampled: Resampled | None, basis: Basis, entropy_threshold: float
) -> Bootstrapped:
    if resampled is None:
        return Bootstrapped(None, None, None, f"fewer than {LEAST_BLOCKS} blocks of documents")
    spearman, low_entropy_share, coverage = resampled.criteria(entropy_sum, entropy_threshold).T
    shares = share_interval(low_entropy_share, basis), share_interval(coverage, basis)
    if np.isfinite(spearman).all():
        return Bootstrapped(rho_interval(spearman, basis), *shares)
    return Bootstrapped(None, *shares, "rho is undefined in at least one replicate")


def rarefaction(
    blocks: Blocks,
    frequency_threshold: int = 50,
    entropy_threshold: float = 0.5,
    seed: int = 0,
    orders: int = 8,
) -> list[SampleSize]:
    """Return the criteria on one block, on twice as many and so on, and on all, the fewest first.

    If the last rows still move, more data may change the verdict.

    Args:
        blocks: of one layer.
        frequency_threshold: occurrences, exclusive, the same at every size.
        entropy_threshold: nats, exclusive.
        orders: random orders of the blocks; each size takes the first blocks of every order.

    Source: rarefaction as in ecology, Sanders (1968), by random accumulation of samples: Gotelli
    & Colwell (2001), Quantifying biodiversity.
    """
    count = len(blocks.occurrences)
    random = np.random.default_rng(seed)
    positions = np.array([random.permutation(count) for _ in range(orders)])
    sizes = sorted({count >> halvings for halvings in range(count.bit_length())})
    weights = np.concatenate([*(positions < size for size in sizes[:-1]), np.ones((1, count))])
    resampled = Resampled(blocks.occurrences, weights.astype(np.float64), frequency_threshold)
    criteria = resampled.criteria(blocks.entropy_sum, entropy_threshold)
    measured = np.column_stack([resampled.occurrences, resampled.tokens, criteria])
    found = []
    for index, size in enumerate(sizes):
        rows = measured[index * orders : (index + 1) * orders]
        found.append(_sample_size(size, size / count, rows))
    return found


def _sample_size(blocks: int, share: float, rows: Array) -> SampleSize:
    """Return the means and deviations of rows of occurrences, tokens and the three criteria."""
    occurrences, tokens, spearman, low_entropy_share, coverage = rows.mean(axis=0).tolist()
    rho = spearman if np.isfinite(spearman) else None
    means = (share, blocks, occurrences, tokens, rho, low_entropy_share, coverage)
    if len(rows) == 1:
        return SampleSize(*means)
    deviations = rows[:, 2:].std(axis=0, ddof=1).tolist()
    return SampleSize(*means, None if rho is None else deviations[0], *deviations[1:])
