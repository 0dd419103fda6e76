"""Which settings of the fast path are worth choosing between."""

import numpy as np
from numpy.typing import NDArray

from reports.statistics.arrays import Array


def pareto_front(coverage: Array, agreement: Array) -> NDArray[np.bool_]:
    """Return (points,) bool: the points that no other point beats.

    One beats another that is as good in both and better in one; of equal points the first is kept.

    Args:
        coverage: (points,) share of occurrences; nan excludes the point.
        agreement: (points,) share of covered held-out occurrences; nan excludes the point.

    Source: the maxima of a set of vectors in the plane, by one sweep: Kung, Luccio & Preparata
    (1975), On finding the maxima of a set of vectors.
    """
    coverage, agreement = np.asarray(coverage, float), np.asarray(agreement, float)
    chosen = np.zeros(coverage.shape, dtype=np.bool_)
    defined = np.flatnonzero(np.isfinite(coverage) & np.isfinite(agreement))
    order = defined[np.lexsort((defined, -agreement[defined], -coverage[defined]))]
    best = -np.inf
    for point in order:
        if agreement[point] > best:
            chosen[point] = True
            best = agreement[point]
    return chosen
