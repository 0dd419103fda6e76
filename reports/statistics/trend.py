"""Whether a number moves one way over the runs of a series, by a rank test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gatehouse.reports.statistics.arrays import Array

LEAST_RUNS = 5
"""Of fewer runs no trend is spoken of: even a perfect order of four has p = 0.08."""


@dataclass(frozen=True)
class Trend:
    """A number over the runs in which it is known.

    first, last, least, most: its values; the number's own unit.
    runs: how many runs have it.
    tau: Kendall's tau-b with the order of the runs, 1 where it never falls; None where it is
        undefined: fewer than LEAST_RUNS runs, or all values are equal.
    log10_p: of tau, two-sided; None where tau is.
    """

    first: float
    last: float
    least: float
    most: float
    runs: int
    tau: float | None
    log10_p: float | None


def trend(values: Sequence[float] | Array) -> Trend | None:
    """Test whether values tend up or down with their order; None if fewer than two are known.

    Args:
        values: (runs,) in the order of the runs; NaN where a run does not have the number.

    Source: Mann (1945), Nonparametric tests against trend, with Kendall's tau-b and the p value of
    `scipy.stats.kendalltau`, exact without ties. Runs that read other texts of one kind are taken
    to be independent.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size < 2:
        return None
    ends = (float(known[0]), float(known[-1]), float(known.min()), float(known.max()))
    if known.size < LEAST_RUNS or np.ptp(known) == 0:
        return Trend(*ends, known.size, None, None)
    found = stats.kendalltau(np.arange(known.size), known)
    # p of thousands of ordered runs may underflow
    log10_p = float(np.log10(max(found.pvalue, np.finfo(float).tiny)))
    return Trend(*ends, known.size, float(found.statistic), log10_p)
