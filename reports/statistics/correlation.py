"""Frequency against mean entropy: rank correlations, what they hold fixed, corrected p values.

One value per distinct token of one MoE layer; mean entropy is in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from gatehouse.reports.statistics.arrays import LEAST_TOKENS, Array

MINIMA = (1, 5, 20, 50, 100)
"""Occurrences: the correlation is also given among the tokens that have at least so many."""


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
        return f"undefined: {self.undefined}" if self.log10_p is None else p_text(self.log10_p)


def p_text(log10_p: float, digits: int = 2) -> str:
    """Return a p value given by its logarithm as `1.23e-145`, however small.

    Args:
        log10_p: of the p value.
        digits: after the point.
    """
    exponent = int(np.floor(log10_p))
    mantissa = f"{10 ** (log10_p - exponent):.{digits}f}"
    if mantissa.startswith("10."):
        mantissa, exponent = mantissa.replace("10.", "1.", 1), exponent + 1
    return f"{mantissa}e{exponent:+03d}"


@dataclass(frozen=True)
class MinimumFrequency:
    """Spearman's rho among the `tokens` that occur at least `minimum` times; None if undefined."""

    minimum: int
    tokens: int
    spearman: float | None


def frequency_entropy(frequency: Array, mean_entropy: Array) -> Correlation:
    """Correlate frequency with mean entropy over the distinct tokens.

    Args:
        frequency: (tokens,) occurrences.
        mean_entropy: (tokens,) nats.

    Source: Spearman (1904) as `scipy.stats.spearmanr`; its p is exact where every order agrees.
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

    Both variables then have the same ties, and one of the n! / (product of ties!) distinct orders
    is rising, one falling. The other one of these is perfect too if the ties are the same from
    either end: of entropies (1, 1, 2) none falls as perfectly as frequencies (1, 1, 2) rise.
    """
    ties = np.unique(frequency, return_counts=True)[1]
    orders = special.gammaln(frequency.size + 1) - special.gammaln(ties + 1).sum()
    perfect = 2 if (ties == ties[::-1]).all() else 1
    return float(min(0.0, (np.log(perfect) - orders) / np.log(10)))


def kendall(frequency: Array, mean_entropy: Array) -> float | None:
    """Return Kendall's tau-b of frequency and mean entropy, None where either is constant.

    Args:
        frequency: (tokens,) occurrences.
        mean_entropy: (tokens,) nats.

    Source: Kendall (1945), The treatment of ties in ranking problems, as `scipy.stats.kendalltau`.
    """
    if _is_undefined(frequency, mean_entropy):
        return None
    return float(stats.kendalltau(frequency, mean_entropy).statistic)


def partial_spearman(frequency: Array, mean_entropy: Array, held: Array) -> float | None:
    """Return the rank correlation of frequency and mean entropy with a third variable held fixed.

    Args:
        frequency: (tokens,) occurrences.
        mean_entropy: (tokens,) nats.
        held: (tokens,) what may explain both, say the mean position of a token's occurrences.

    Returns:
        None where a variable is constant, or where `held` has the order of one of the other two
        and leaves nothing to correlate.

    Source: Yule (1907), On the theory of correlation for any number of variables, of ranks:
    (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)).
    """
    if _is_undefined(frequency, mean_entropy, held):
        return None
    ranks = [stats.rankdata(values) for values in (frequency, mean_entropy, held)]
    pairs = np.corrcoef(ranks)
    plain, with_frequency, with_entropy = pairs[0, 1], pairs[0, 2], pairs[1, 2]
    left = (1 - with_frequency**2) * (1 - with_entropy**2)
    # after a perfect order only rounding is left
    if left < 1e-12:
        return None
    partial = (plain - with_frequency * with_entropy) / np.sqrt(left)
    return float(np.clip(partial, -1, 1))


def spearman_by_minimum(
    frequency: Array, mean_entropy: Array, minima: Sequence[int] = MINIMA
) -> list[MinimumFrequency]:
    """Return Spearman's rho among the tokens with at least each of the `minima` occurrences.

    The mean entropy of a rare token is noise; a correlation that comes from rare tokens vanishes
    when they are left out.

    Args:
        frequency: (tokens,) occurrences.
        mean_entropy: (tokens,) nats.
        minima: occurrences, inclusive.
    """
    frequency, mean_entropy = np.asarray(frequency), np.asarray(mean_entropy)
    found = []
    for minimum in minima:
        kept = frequency >= minimum
        spearman = frequency_entropy(frequency[kept], mean_entropy[kept]).spearman
        found.append(MinimumFrequency(minimum, int(kept.sum()), spearman))
    return found


def holm(log10_p: Sequence[float | None]) -> list[float | None]:
    """Return log10 of the p values adjusted for testing all of them, say one per layer.

    Rejecting the hypotheses whose adjusted p is under a level then rejects any true one at most
    that often, however the tests depend on each other.

    Args:
        log10_p: log10 of each p; None is an undefined test, stays None and is not counted.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure: the i-th smallest
    of m becomes max over j <= i of min(1, (m - j + 1) p_j).
    """
    defined = [(value, index) for index, value in enumerate(log10_p) if value is not None]
    adjusted: list[float | None] = [None] * len(log10_p)
    largest = -np.inf
    for rank, (value, index) in enumerate(sorted(defined)):
        largest = max(largest, min(0.0, value + float(np.log10(len(defined) - rank))))
        adjusted[index] = largest
    return adjusted


def _is_undefined(*variables: Array) -> bool:
    return np.size(variables[0]) < LEAST_TOKENS or any(np.ptp(each) == 0 for each in variables)
