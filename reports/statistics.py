"""Statistics of per-token routing: arrays in, frozen dataclasses out, never a silent nan.

Every function takes one value per distinct token of one MoE layer. Entropy is in nats. What the
data cannot define (a correlation with a constant, say) is None, and `undefined` says why.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]

LEAST_TOKENS = 3
"""A p value needs n - 2 > 0 degrees of freedom."""

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
class Correlation:
    """Frequency against mean entropy: Spearman's rho, its two-sided p, Pearson's r.

    `p_value` may underflow to 0; `log10_p` is always finite. `pearson` is that of
    ln(frequency + 1) and mean entropy.
    """

    spearman: float | None
    p_value: float | None
    log10_p: float | None
    pearson: float | None
    undefined: str | None = None

    @property
    def p_text(self) -> str:
        """Return p as `1.23e-145`, also where it is smaller than any float."""
        if self.log10_p is None:
            return f"undefined: {self.undefined}"
        exponent = int(np.floor(self.log10_p))
        mantissa = f"{10 ** (self.log10_p - exponent):.2f}"
        if mantissa == "10.00":
            mantissa, exponent = "1.00", exponent + 1
        return f"{mantissa}e{exponent:+03d}"


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
    """
    ordered = np.sort(np.asarray(frequency, dtype=np.float64))[::-1]
    total = ordered.sum()
    coverage = {top: float(ordered[:top].sum() / total) for top in COVERAGE_RANKS}
    if ordered.size < LEAST_TOKENS:
        return Zipf(None, coverage, f"fewer than {LEAST_TOKENS} tokens")
    if ordered[0] == ordered[-1]:
        return Zipf(None, coverage, "all frequencies are equal")
    ranks = np.arange(1, ordered.size + 1)
    fit = stats.linregress(np.log(ranks), np.log(ordered + 1))
    return Zipf(float(fit.rvalue**2), coverage)


def frequency_entropy(frequency: Array, mean_entropy: Array) -> Correlation:
    """Correlate frequency with mean entropy over the distinct tokens.

    Args:
        frequency: (tokens,) occurrences.
        mean_entropy: (tokens,) nats.
    """
    frequency = np.asarray(frequency, dtype=np.float64)
    mean_entropy = np.asarray(mean_entropy, dtype=np.float64)
    if frequency.size < LEAST_TOKENS:
        return Correlation(None, None, None, None, f"fewer than {LEAST_TOKENS} tokens")
    for values, name in ((frequency, "frequencies"), (mean_entropy, "mean entropies")):
        if np.ptp(values) == 0:
            return Correlation(None, None, None, None, f"all {name} are equal")
    result = stats.spearmanr(frequency, mean_entropy)
    rho = float(np.clip(result.statistic, -1, 1))
    log10_p = _log10_p(rho, float(result.pvalue), frequency)
    # the squares of a nearly vanishing spread can underflow
    with np.errstate(invalid="ignore", divide="ignore"):
        pearson = np.corrcoef(np.log(frequency + 1), mean_entropy)[0, 1]
    return Correlation(rho, 10**log10_p, log10_p, float(pearson) if np.isfinite(pearson) else None)


def _log10_p(rho: float, p_value: float, frequency: Array) -> float:
    """Return log10 of the two-sided p of `rho`, finite where scipy's `p_value` is 0.

    p = I_x(a, 1/2), the regularised incomplete beta function at x = 1 - rho², a = n / 2 - 1
    (Student's t with n - 2 degrees of freedom, Abramowitz & Stegun 26.7.1). Substituting
    u = x exp(-s / a) in its integral leaves one that Gauss-Laguerre quadrature solves.
    """
    if abs(rho) > 1 - 1e-12:
        return _log10_p_of_perfect_order(frequency)
    if p_value > 0:
        return float(np.log10(p_value))
    a, x = frequency.size / 2 - 1, (1 - rho) * (1 + rho)
    nodes, weights = np.polynomial.laguerre.laggauss(16)
    integral = np.sum(weights / np.sqrt(1 - x * np.exp(-nodes / a)))
    log_p = a * np.log(x) - np.log(a) - special.betaln(a, 0.5) + np.log(integral)
    return float(log_p / np.log(10))


def _log10_p_of_perfect_order(frequency: Array) -> float:
    """Return log10 of the exact permutation p at |rho| = 1, where the t approximation gives 0.

    Two of the n! / (product of ties!) distinct orders are perfect: one rising, one falling.
    """
    ties = np.unique(frequency, return_counts=True)[1]
    orders = special.gammaln(frequency.size + 1) - special.gammaln(ties + 1).sum()
    return float(min(0.0, (np.log(2) - orders) / np.log(10)))


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
