"""95 % intervals of rho and of shares from the spread of random halves of the documents.

A share's interval never collapses: that no block showed a kind of document does not mean there is
none, so it reaches as far from 0 and 1 as so few blocks and tokens leave open.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from gatehouse.reports.statistics.arrays import Array

LEVEL = 0.95
LARGEST_RHO = 1 - 1e-12
"""Fisher's z of a perfect order is infinite."""


@dataclass(frozen=True)
class Interval:
    """A measure of all documents, its 95 % interval, and the standard error from the replicates."""

    estimate: float
    low: float
    high: float
    standard_error: float
    blocks: int
    replicates: int


@dataclass(frozen=True)
class Basis:
    """What intervals rest on: blocks, how many equal blocks they are worth, distinct tokens."""

    blocks: int
    effective_blocks: float
    tokens: int

    @classmethod
    def of_occurrences(cls, occurrences: Array) -> "Basis":
        """Return the basis of (blocks, tokens) counts.

        A block's part in a variance grows with the square of its size w, so the variance is known
        as if from (sum of w^2)^2 / (sum of w^4) blocks: all, where they are equal, and about 1,
        where one holds nearly all the text.

        Source: Satterthwaite (1946), An approximate distribution of estimates of variance
        components.
        """
        squares = (occurrences.sum(axis=1) / occurrences.sum()) ** 2
        effective = squares.sum() ** 2 / (squares**2).sum()
        return cls(len(occurrences), float(effective), occurrences.shape[1])

    def quantile(self, level: float) -> float:
        """Return how many standard errors a two-sided interval of Student's t reaches."""
        freedom = min(max(self.effective_blocks, 1.0), self.blocks - 1)
        return float(stats.t.ppf((1 + level) / 2, freedom))


def rho_interval(values: Array, basis: Basis, level: float = LEVEL) -> Interval:
    """Return the interval of rho: Student's t about the estimate, on Fisher's z.

    Args:
        values: (1 + replicates,) rho of all blocks, then of each replicate.
        basis: of all blocks.
        level: how often the interval should hold the truth.

    Source: Fisher (1915).
    """
    on_z = np.arctanh(np.clip(values, -LARGEST_RHO, LARGEST_RHO))
    reach = basis.quantile(level) * _error(on_z)
    low, high = np.tanh([on_z[0] - reach, on_z[0] + reach])
    return _interval(values, low, high, basis)


def share_interval(values: Array, basis: Basis, level: float = LEVEL) -> Interval:
    """Return the interval of a share: Wilson's, for as many observations as its error is worth.

    That is n = p (1 - p) / error^2, with p at least one error away from 0 and 1. Where no replicate
    differs, n is the effective blocks or the tokens, whichever is fewer; with that n, an interval
    also reaches at least as far as Wilson's for a share of 0, and as that for 1.

    Args:
        values: (1 + replicates,) share among all blocks, then of each replicate.
        basis: of all blocks.
        level: how often the interval should hold the truth.

    Source: Wilson (1927), with t and effective n as for surveys: Kish (1965), Survey Sampling;
    Dean & Pagano (2015), Evaluating confidence interval methods for binomial proportions in
    clustered surveys.
    """
    share, error = float(values[0]), _error(values)
    quantile = basis.quantile(level)
    fewest = min(basis.effective_blocks, float(basis.tokens))
    inside = min(max(share, error), 1 - error)
    observations = inside * (1 - inside) / error**2 if error else fewest
    low, high = _wilson(min(share, 1.0), observations, quantile)
    _, unseen = _wilson(0.0, fewest, quantile)
    low, high = min(low, share, 1 - unseen), max(high, share, unseen)
    return _interval(values, max(low, 0.0), min(high, 1.0), basis)


def _wilson(share: float, observations: float, quantile: float) -> tuple[float, float]:
    added = quantile**2 / observations
    centre = (share + added / 2) / (1 + added)
    reach = np.sqrt(added * share * (1 - share) + added**2 / 4) / (1 + added)
    return float(centre - reach), float(centre + reach)


def _error(values: Array) -> float:
    return float(values[1:].std(ddof=1))


def _interval(values: Array, low: float, high: float, basis: Basis) -> Interval:
    estimate, replicates = float(values[0]), values.size - 1
    return Interval(estimate, float(low), float(high), _error(values), basis.blocks, replicates)
