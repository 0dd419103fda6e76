"""Zipf's law by maximum likelihood: the power law of frequencies, and what else would fit.

The power law of frequencies (how many tokens occur x times) and that of ranks (how often the r-th
most frequent token occurs) are two views of one law: exponents alpha and 1 / (alpha - 1).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gatehouse.reports.backend import import_matplotlib
from gatehouse.reports.statistics.arrays import Array
from gatehouse.reports.statistics.mandelbrot import Mandelbrot, fit_mandelbrot
from gatehouse.reports.statistics.tail import (
    LEAST_TAIL,
    Integers,
    Tail,
    candidates_of,
    fit_tail,
    further_replicates,
)

LARGEST_P = 0.1
"""Under it a likelihood ratio prefers one law, as in Clauset, Shalizi & Newman (2009)."""


@dataclass(frozen=True)
class Lognormal:
    """The discrete lognormal of the same tail, and the likelihood ratio against it.

    `ratio` is the normalised log-likelihood ratio, above 0 where the power law is likelier, and
    `p_value` its two-sided p; `preferred` is "power law", "lognormal", or None if undecided. On a
    true power law mu runs towards minus infinity, where the two laws are one, and is cut off.
    """

    mu: float
    sigma: float
    ratio: float
    p_value: float
    preferred: str | None


@dataclass(frozen=True)
class ZipfFit:
    """The power law of the frequencies from `x_min` on, and its alternatives.

    `alpha_error` is its standard error, `distance` that of Kolmogorov and Smirnov; `p_value` the
    goodness of fit: under 0.1 the tail is not a power law. `rank_exponent` is 1 / (alpha - 1).
    `lognormal` is None where its likelihood is too small for a float.
    """

    alpha: float | None
    alpha_error: float | None
    rank_exponent: float | None
    x_min: int | None
    distance: float | None
    tail_tokens: int
    p_value: float | None
    replicates: int
    lognormal: Lognormal | None
    mandelbrot: Mandelbrot | None
    undefined: str | None = None

    @property
    def p_text(self) -> str | None:
        """Return the goodness of fit as `p = 0.40`, or `p < 0.01` where 0 of 100 are as far."""
        if self.p_value is None:
            return None
        if not self.p_value:
            return f"p < {1 / self.replicates:.2g}"
        # 1 of 1,000 needs a third digit
        digits = max(2, math.ceil(math.log10(max(self.replicates, 1))))
        return f"p = {self.p_value:.{digits}f}"


def fit_zipf(frequency: Array, replicates: int = 100, seed: int = 0) -> ZipfFit:
    """Fit the discrete power law p(x) = x^-alpha / zeta(alpha, x_min) to the frequencies' tail.

    alpha has the largest likelihood; x_min is the one of up to 36 candidates with the smallest
    distance between data and fit. The goodness of fit is the share of replicates at least as far
    from their own fit as the data: values under x_min are drawn from the data, those from x_min on
    from the fitted law. It tests the tail alone, so read it with `tail_tokens`: x_min can move so
    far out that the few tokens left look like any law.

    Args:
        frequency: (tokens,) occurrences, integers of at least 1, in any order.
        replicates: of the goodness of fit; its p is known to about 0.5 / sqrt(replicates).

    Returns:
        Undefined with fewer than 50 tokens, or where all frequencies are equal.

    Source: Clauset, Shalizi & Newman (2009), Power-law distributions in empirical data, sections
    3 to 5; the lognormal and Vuong's (1989) ratio by `powerlaw`, Alstott et al. (2014).
    """
    occurrences = np.asarray(frequency, dtype=np.int64)
    if reason := _undefined(occurrences):
        return ZipfFit(None, None, None, None, None, 0, None, 0, None, None, reason)
    values, counts = np.unique(occurrences, return_counts=True)
    candidates = candidates_of(values, counts)
    tail = fit_tail(values, counts, candidates)
    further = further_replicates(values, counts, tail, candidates, replicates, seed)
    return ZipfFit(
        alpha=tail.alpha,
        alpha_error=tail.alpha_error,
        rank_exponent=1 / (tail.alpha - 1),
        x_min=tail.x_min,
        distance=tail.distance,
        tail_tokens=tail.tokens,
        p_value=further / replicates if replicates else None,
        replicates=replicates,
        lognormal=_against_lognormal(occurrences, tail),
        mandelbrot=fit_mandelbrot(frequency),
    )


def _undefined(frequency: Integers) -> str | None:
    if frequency.size < LEAST_TAIL:
        return f"fewer than {LEAST_TAIL} tokens"
    if np.ptp(frequency) == 0:
        return "all frequencies are equal"
    return None


def _against_lognormal(frequency: Integers, tail: Tail) -> Lognormal | None:
    # powerlaw imports pyplot, and only a fit should wait for that
    import_matplotlib()
    import powerlaw

    data = np.sort(frequency[frequency >= tail.x_min]).astype(np.float64)
    # powerlaw's own power law cancels where zeta is below 1e-16
    law = -tail.alpha * np.log(data) - np.log(special.zeta(tail.alpha, tail.x_min))
    with np.errstate(all="ignore"):
        lognormal = powerlaw.Lognormal(xmin=tail.x_min, discrete=True, data=data, verbose=0)
        ratio, p_value = powerlaw.loglikelihood_ratio(
            law, lognormal.loglikelihoods(data), normalized_ratio=True
        )
    if not np.isfinite([ratio, p_value, lognormal.mu, lognormal.sigma]).all():
        return None
    preferred = None
    if p_value < LARGEST_P:
        preferred = "power law" if ratio > 0 else "lognormal"
    return Lognormal(
        float(lognormal.mu), float(lognormal.sigma), float(ratio), float(p_value), preferred
    )
