"""How far the three criteria would move with other documents: a bootstrap over blocks of them.

Tokens of a document share its topic and its context, so occurrences are not an independent
sample; documents are. Blocks of documents are drawn with repetition, and every layer sees the same
draws.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gatehouse.reports.statistics.arrays import Array
from gatehouse.reports.statistics.blocks import Blocks, Resampled

LEAST_BLOCKS = 8
"""With fewer, the spread between blocks is too poorly known for an interval."""

LEVEL = 0.95
LARGEST_RHO = 1 - 1e-12
"""Fisher's z of a perfect order is infinite."""


@dataclass(frozen=True)
class Interval:
    """A measure of all documents, its 95 % interval, and the bootstrap's standard error.

    The interval has no width where no replicate differs: no token is near the threshold, say.
    """

    estimate: float
    low: float
    high: float
    standard_error: float
    blocks: int
    replicates: int


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


def draws(blocks: int, replicates: int, seed: int = 0) -> Array:
    """Return (replicates, blocks): how often each replicate draws each block, `blocks` in all.

    Source: Efron (1979), Bootstrap methods; blocks of documents as units: Davison & Hinkley
    (1997), section 3.8.
    """
    random = np.random.default_rng(seed)
    return random.multinomial(blocks, np.full(blocks, 1 / blocks), replicates).astype(np.float64)


def bootstrap(
    layers: Iterable[Blocks],
    frequency_threshold: int = 50,
    entropy_threshold: float = 0.5,
    *,
    replicates: int = 200,
    seed: int = 0,
) -> BootstrappedRun:
    """Return 95 % intervals of rho, of the share of low-entropy tokens, and of coverage.

    Drawing with repetition leaves out rare tokens, which shifts the replicates but not their
    spread. So intervals are centred on the estimate: Student's t with blocks - 1 degrees of freedom
    times the replicates' standard deviation, on Fisher's z for rho, cut to [0, 1] for shares.
    `python -m tests.tools.calibration` shows how often these and other forms hold the truth.

    Args:
        layers: blocks of each layer of one run, read one at a time, with the same occurrences.
        frequency_threshold: occurrences, exclusive; `entropy_threshold`, nats, exclusive.
        replicates: how many draws of the blocks.

    Raises:
        ValueError: there is no layer, or layers differ in their occurrences.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 12; Fisher (1915).
    """
    found: list[Bootstrapped] = []
    first, resampled, summed = None, None, np.zeros(0)
    for layer in layers:
        if first is None:
            first, summed = layer, np.zeros_like(layer.entropy_sum)
            resampled = _resampled(layer.occurrences, frequency_threshold, replicates, seed)
        elif not np.array_equal(layer.occurrences, first.occurrences):
            raise ValueError("the layers of a run must have the same occurrences")
        summed += layer.entropy_sum
        found.append(_bootstrapped(layer.entropy_sum, resampled, entropy_threshold))
    if not found:
        raise ValueError("there is no layer to resample")
    summed /= len(found)
    return BootstrappedRun(tuple(found), _bootstrapped(summed, resampled, entropy_threshold))


def _resampled(
    occurrences: Array, frequency_threshold: int, replicates: int, seed: int
) -> Resampled | None:
    blocks = len(occurrences)
    if blocks < LEAST_BLOCKS:
        return None
    weights = np.vstack([np.ones(blocks), draws(blocks, replicates, seed)])
    return Resampled(occurrences, weights, frequency_threshold)


def _bootstrapped(
    entropy_sum: Array, resampled: Resampled | None, entropy_threshold: float
) -> Bootstrapped:
    if resampled is None:
        return Bootstrapped(None, None, None, f"fewer than {LEAST_BLOCKS} blocks of documents")
    blocks = len(entropy_sum)
    spearman, low_entropy_share, coverage = resampled.criteria(entropy_sum, entropy_threshold).T
    shares = _of_share(low_entropy_share, blocks), _of_share(coverage, blocks)
    if np.isfinite(spearman).all():
        return Bootstrapped(_of_rho(spearman, blocks), shares[0], shares[1])
    return Bootstrapped(None, *shares, "rho is undefined in at least one replicate")


def _of_rho(values: Array, blocks: int) -> Interval:
    on_z = np.arctanh(np.clip(values, -LARGEST_RHO, LARGEST_RHO))
    low, high = np.tanh(_around(on_z, blocks))
    return _interval(values, low, high, blocks)


def _of_share(values: Array, blocks: int) -> Interval:
    low, high = np.clip(_around(values, blocks), 0, 1)
    return _interval(values, low, high, blocks)


def _around(values: Array, blocks: int) -> Array:
    """Return the estimate (the first value) minus and plus what the others' spread gives."""
    reach = stats.t.ppf((1 + LEVEL) / 2, blocks - 1) * values[1:].std(ddof=1)
    return np.array([values[0] - reach, values[0] + reach])


def _interval(values: Array, low: float, high: float, blocks: int) -> Interval:
    error = float(values[1:].std(ddof=1))
    return Interval(float(values[0]), float(low), float(high), error, blocks, values.size - 1)


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
