"""The fast path: which tokens a lookup table could route, what they cover, which settings pay."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatehouse.reports.statistics.arrays import Array

FREQUENCY_THRESHOLDS = (0, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Occurrences: the rows of the coverage grid, those of the mart `fct_fast_path_coverage`."""

ENTROPY_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
"""Nats: the columns of the coverage grid for every router."""

FURTHER_ENTROPY_THRESHOLDS = (2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0)
"""Nats: more columns, as far as a router's entropy can reach."""


@dataclass(frozen=True)
class FastPath:
    """Eligible tokens, their share of the distinct tokens, and the occurrences they cover."""

    eligible_tokens: int
    eligible_share: float
    coverage: float


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


def entropy_thresholds(highest: float) -> tuple[float, ...]:
    """Return the grid's entropy thresholds, nats, as the mart `fct_fast_path_coverage` has them.

    Args:
        highest: nats that an entropy can reach, ln(experts) of a router.
    """
    further = (each for each in FURTHER_ENTROPY_THRESHOLDS if each < highest)
    return (*ENTROPY_THRESHOLDS, *further)


def coverage_grid(frequency: Array, mean_entropy: Array, thresholds: Sequence[float]) -> Array:
    """Return coverage: rows FREQUENCY_THRESHOLDS, columns the entropy thresholds in nats.

    The same numbers as `fct_fast_path_coverage`, for a table that is not in a warehouse.
    """
    rows = [
        [fast_path(frequency, mean_entropy, least, most).coverage for most in thresholds]
        for least in FREQUENCY_THRESHOLDS
    ]
    return np.array(rows)


def pareto_front(coverage: Array, agreement: Array) -> NDArray[np.bool_]:
    """Return (points,) bool: the points that no other point beats.

    A point beats another if it is at least as good in both and better in one; of equal points the
    first is kept.

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
