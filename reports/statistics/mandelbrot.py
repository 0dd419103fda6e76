"""Frequencies by rank: Zipf's law and Mandelbrot's with a shift, by maximum likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from gatehouse.reports.statistics.arrays import Array

STARTS = (0.1, 3.0, 50.0)
"""Shifts at which the climb to the largest likelihood starts."""

LARGEST_EXPONENT = 10.0
ROUNDING = 1e-12


@dataclass(frozen=True)
class Mandelbrot:
    """f(r) proportional to (r + shift)^-exponent over the ranks, and Zipf's law, shift 0.

    `ratio` is twice the gain in log-likelihood by the shift, `p_value` its p. Where frequencies
    fall exponentially, the exponent ends at its limit, 10, with a shift beyond the ranks.
    """

    shift: float
    exponent: float
    zipf_exponent: float
    ratio: float
    p_value: float

    def frequencies(self, ranks: Array, tokens: int, occurrences: float) -> Array:
        """Return (ranks,) expected occurrences where `tokens` tokens have `occurrences` in all."""
        # in logarithms: a large shift and exponent would underflow
        total = np.logaddexp.reduce(-self.exponent * np.log(np.arange(1, tokens + 1) + self.shift))
        return occurrences * np.exp(-self.exponent * np.log(ranks + self.shift) - total)


def fit_mandelbrot(frequency: Array) -> Mandelbrot:
    """Fit both laws to the occurrences of ranks 1 to tokens.

    The shift is at least 0, so its test against 0 is at the boundary of its range: p is half that
    of chi squared with 1 degree of freedom. The test assumes that occurrences are independent,
    which they are not within documents, and that the order of the data is the law's. So p is far
    too small, and the shift itself is more informative.

    Args:
        frequency: (tokens,) occurrences, at least 1, in any order.

    Source: Mandelbrot (1953), An informational theory of the statistical structure of language;
    likelihood over ranks as Izsak (2006); the boundary: Self & Liang (1987), case 5.
    """
    ordered = np.sort(np.asarray(frequency, dtype=np.float64))[::-1]
    largest_shift = 10.0 * ordered.size
    plain = _climbed(ordered, 0.0, 0.0)
    fits = [_climbed(ordered, start, largest_shift) for start in STARTS]
    best = min([plain, *fits], key=lambda fit: fit.fun)
    # a gain smaller than rounding is no gain
    if plain.fun - best.fun < ROUNDING:
        best = plain
    ratio = max(0.0, float(2 * ordered.sum() * (plain.fun - best.fun)))
    p_value = 1.0 if best is plain else float(stats.chi2.sf(ratio, 1)) / 2
    return Mandelbrot(
        shift=float(np.expm1(best.x[1])),
        exponent=float(best.x[0]),
        zipf_exponent=float(plain.x[0]),
        ratio=ratio,
        p_value=p_value,
    )


def _climbed(ordered: Array, start: float, largest: float) -> optimize.OptimizeResult:
    """Return the best exponent and ln(1 + shift), shifts from 0 to `largest`."""
    ranks = np.arange(1, ordered.size + 1)
    shares = ordered / ordered.sum()

    def loss(parameters: Array) -> tuple[float, Array]:
        """Return minus the mean log-likelihood of an occurrence, and its gradient."""
        exponent, shift = parameters[0], np.expm1(parameters[1])
        logs = np.log(ranks + shift)
        weights = np.exp(-exponent * (logs - logs[0]))
        total = weights.sum()
        apart = shares - weights / total
        value = exponent * (shares @ logs - logs[0]) + np.log(total)
        by_shift = exponent * (apart @ (1 / (ranks + shift))) * (1 + shift)
        return float(value), np.array([apart @ logs, by_shift])

    bounds = [(0.0, LARGEST_EXPONENT), (0.0, float(np.log1p(largest)))]
    first = np.array([1.0, np.log1p(start)])
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500}
    return optimize.minimize(
        loss, first, jac=True, bounds=bounds, method="L-BFGS-B", options=options
    )
