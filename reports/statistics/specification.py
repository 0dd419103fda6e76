"""The statistics that the original specification names, as its own code computes them.

Zipf's line, the entropy distribution, routing consistency, the fast path and its coverage grid;
the correlation is in `reports.statistics.correlation`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reports.statistics.arrays import LEAST_TOKENS, Array

COVERAGE_RANKS = (10, 100, 1000)
"""Coverage is given for this many of the most frequent tokens."""

CONSISTENCY_RANKS = 1000
"""The consistency of frequent tokens is the mean over this many of them."""

FREQUENCY_THRESHOLDS = (0, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Occurrences: the rows of the coverage grid, those of the mart `fct_fast_path_coverage`."""

ENTROPY_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Nats: the columns of the coverage grid, those of the mart `fct_fast_path_coverage`."""


@dataclass(frozen=True)
class Zipf:
    """How well frequencies follow Zipf's law, and what the most frequent tokens cover."""

    r_squared: float | None
    coverage: dict[int, float]
    undefined: str | None = None


@dataclass(frozen=True)
class ZipfLine:
    """The straight line whose R² the specification asks for: ln(frequency + 1) on ln(rank)."""

    slope: float
    intercept: float
    r_squared: float

    def frequencies(self, ranks: Array) -> Array:
        """Return (ranks,) occurrences on the line."""
        return np.exp(self.intercept + self.slope * np.log(ranks)) - 1


@dataclass(frozen=True)
class EntropyDistribution:
    """Mean entropies of the distinct tokens, nats; the share of tokens is under `threshold`."""

    mean: float
    std: float
    median: float
    threshold: float
    low_entropy_share: float


@dataclass(frozen=True)
class Consistency:
    """Mean routing consistency of all tokens and of the `top_tokens` most frequent."""

    mean: float
    top_mean: float
    top_tokens: int


@dataclass(frozen=True)
class FastPath:
    """Eligible tokens, their share of the distinct tokens, and the occurrences they cover."""

    eligible_tokens: int
    eligible_share: float
    coverage: float


def zipf(frequency: Array) -> Zipf:
    """Fit ln(frequency + 1) on ln(rank) by least squares, rank 1 = the most frequent token.

    Args:
        frequency: (tokens,) occurrences, at least 1, in any order.

    Source: the specification; the +1 and the line through ranks are its own. A fit by maximum
    likelihood is `fit_zipf`.
    """
    ordered = np.sort(np.asarray(frequency, dtype=np.float64))[::-1]
    total = ordered.sum()
    coverage = {top: float(ordered[:top].sum() / total) for top in COVERAGE_RANKS}
    if ordered.size < LEAST_TOKENS:
        return Zipf(None, coverage, f"fewer than {LEAST_TOKENS} tokens")
    if ordered[0] == ordered[-1]:
        return Zipf(None, coverage, "all frequencies are equal")
    return Zipf(zipf_line(ordered).r_squared, coverage)


def zipf_line(frequency: Array) -> ZipfLine:
    """Return the least-squares line of ln(frequency + 1) on ln(rank).

    Args:
        frequency: (tokens,) occurrences, at least 1, in any order, not all equal.
    """
    ordered = np.sort(np.asarray(frequency, dtype=np.float64))[::-1]
    ranks = np.arange(1, ordered.size + 1)
    fit = stats.linregress(np.log(ranks), np.log(ordered + 1))
    return ZipfLine(float(fit.slope), float(fit.intercept), float(fit.rvalue**2))


def entropy_distribution(mean_entropy: Array, threshold: float) -> EntropyDistribution:
    """Describe the tokens' mean entropies; `std` is the sample standard deviation.

    Args:
        mean_entropy: (tokens,) nats, at least two tokens.
        threshold: nats; the share counts tokens strictly under it.
    """
    values = np.asarray(mean_entropy, dtype=np.float64)
    return EntropyDistribution(
        mean=float(values.mean()),
        std=float(values.std(ddof=1)),
        median=float(np.median(values)),
        threshold=threshold,
        low_entropy_share=float(np.mean(values < threshold)),
    )


def consistency(frequency: Array, routing_consistency: Array) -> Consistency:
    """Average routing consistency over the tokens; equal frequencies keep the given order.

    Args:
        frequency: (tokens,) occurrences.
        routing_consistency: (tokens,) share of a token's occurrences that went to its modal
            top expert.
    """
    values = np.asarray(routing_consistency, dtype=np.float64)
    order = np.argsort(-np.asarray(frequency), kind="stable")
    top = values[order[:CONSISTENCY_RANKS]]
    return Consistency(float(values.mean()), float(top.mean()), int(top.size))


def eligible(
    frequency: Array, mean_entropy: Array, frequency_threshold: int, entropy_threshold: float
) -> NDArray[np.bool_]:
    """Return (tokens,) bool: frequency > threshold and mean entropy (nats) < threshold."""
    frequent = np.asarray(frequency) > frequency_threshold
    return frequent & (np.asarray(mean_entropy) < entropy_threshold)


def fast_path(
    frequency: Array, mean_entropy: Array, frequency_threshold: int, entropy_threshold: float
) -> FastPath:
    """Count the tokens that a lookup table could route, and the occurrences they cover.

    Args:
        frequency: (tokens,) occurrences.
        mean_entropy: (tokens,) nats.
        frequency_threshold: occurrences, exclusive.
        entropy_threshold: nats, exclusive.
    """
    chosen = eligible(frequency, mean_entropy, frequency_threshold, entropy_threshold)
    covered = np.asarray(frequency)[chosen].sum() / np.sum(frequency)
    return FastPath(int(chosen.sum()), float(chosen.mean()), float(covered))


def coverage_grid(frequency: Array, mean_entropy: Array) -> Array:
    """Return (9, 9) coverage: rows FREQUENCY_THRESHOLDS, columns ENTROPY_THRESHOLDS.

    The same numbers as `fct_fast_path_coverage`, for a table that is in no warehouse.
    """
    rows = [
        [fast_path(frequency, mean_entropy, least, most).coverage for most in ENTROPY_THRESHOLDS]
        for least in FREQUENCY_THRESHOLDS
    ]
    return np.array(rows)
