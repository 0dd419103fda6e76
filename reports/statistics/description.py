"""What describes a layer's tokens: Zipf's line, the entropy distribution, routing consistency.

These are the numbers that the original specification names, computed as its own code does; the
correlation is in `reports.statistics.correlation`.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from gatehouse.reports.statistics.arrays import LEAST_TOKENS, Array

COVERAGE_RANKS = (10, 100, 1000)
"""Coverage is given for this many of the most frequent tokens."""

CONSISTENCY_RANKS = 1000
"""The consistency of frequent tokens is the mean over this many of them."""


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
