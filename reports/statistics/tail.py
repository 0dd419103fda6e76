"""The tail of frequencies that is nearest to a discrete power law, and how near it should be.

CSN is Clauset, Shalizi & Newman (2009), Power-law distributions in empirical data.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gatehouse.reports.statistics.arrays import Array

LEAST_TAIL = 50
"""Tokens: fewer say little about a tail (CSN, section 3)."""

CANDIDATES = 36
"""Values tried as x_min at most, about evenly spaced in their logarithm."""

SMALLEST_ALPHA, LARGEST_ALPHA = 1.01, 20.0
TABLE = 10_000
"""Values from x_min on that are drawn from the exact law; beyond them it is nearly continuous."""

LARGEST_VALUE = 2.0**53

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Tail:
    """Frequencies from `x_min` on: the likeliest exponent, the distance, and how many tokens."""

    alpha: float
    x_min: int
    distance: float
    tokens: int

    @property
    def alpha_error(self) -> float:
        """Return 1 / sqrt(n d2 log zeta / d alpha2): CSN's eq. 3.6, curvature by differences."""
        # 1,000 tokens, alpha 2.5, x_min 1: 0.053; with 100 tokens 0.169, sqrt(10) times as much
        step = 1e-3
        alphas = self.alpha + np.array([-step, 0, step])
        below, at, above = np.log(special.zeta(alphas, self.x_min))
        return float(1 / np.sqrt(self.tokens * (above - 2 * at + below) / step**2))


def candidates_of(values: Integers, counts: Integers) -> Integers:
    """Return values that leave at least 50 tokens of at least two frequencies."""
    tail = np.cumsum(counts[::-1])[::-1]
    possible = values[:-1][tail[:-1] >= LEAST_TAIL]
    # frequencies 1 to 1,000, one token each: 1 to 951 leave 50 tokens; 36 points between them give
    # 31 candidates (1, 2, 3, 4, 5, 7, 8, 10, ... 781, 951), because low points round to the same
    spaced = np.geomspace(possible[0], possible[-1], CANDIDATES)
    return possible[np.unique(np.searchsorted(possible, np.floor(spaced)))]


def fit_tail(values: Integers, counts: Integers, candidates: Integers) -> Tail:
    """Return the fit of the candidate with the smallest distance.

    The distance is the largest over all integers: the law falls between two observed values, so
    both ends of every step of the data are looked at.
    """
    tail_from = np.searchsorted(values, candidates)
    # values (1, 2, 5) of (60, 30, 10) tokens: (100, 40, 10) tokens are at least so frequent, and
    # their ln(value) sum to (36.9, 36.9, 16.1), which is all that a candidate's likelihood needs
    tokens = np.cumsum(counts[::-1])[::-1]
    logs = np.cumsum((counts.astype(np.float64) * np.log(values))[::-1])[::-1]
    fitting = tail_from < values.size
    candidates, tail_from = candidates[fitting], tail_from[fitting]
    alphas = _alphas(candidates, tokens[tail_from], logs[tail_from])
    best: Tail | None = None
    for x_min, start, alpha in zip(candidates.tolist(), tail_from, alphas.tolist(), strict=True):
        total = tokens[start]
        if total < 2:
            continue
        # the same at alpha 2 and x_min 1: P(X >= x) is (1, 0.39, 0.13) by the law, (1, 0.4, 0.1) in
        # the data; P(X > x) is (0.39, 0.24, 0.11), (0.4, 0.1, 0): the distance is 0.14, not 0.03
        law = special.zeta(alpha, values[start:]) / special.zeta(alpha, x_min)
        here = values[start:] ** -alpha / special.zeta(alpha, x_min)
        data = tokens[start:] / total
        after = (tokens[start:] - counts[start:]) / total
        distance = max(np.abs(law - data).max(), np.abs(law - here - after).max())
        if best is None or distance < best.distance:
            best = Tail(alpha, int(x_min), float(distance), int(total))
    assert best is not None
    return best


def _alphas(x_min: Integers, tokens: Integers, logs: Array) -> Array:
    """Return the likeliest exponents, by Newton's method on the concave log-likelihood.

    Source: CSN, eq. 3.5, from the start of eq. 3.7.
    """
    # (candidates,); 36.9 / 100 at x_min 1 starts at alpha 1.94, and 4 steps lead to its 2.306
    mean_log = logs / tokens
    alphas = 1 + 1 / np.maximum(mean_log - np.log(x_min - 0.5), 1e-9)
    step = 1e-4
    for _ in range(12):
        alphas = np.clip(alphas, SMALLEST_ALPHA, LARGEST_ALPHA)
        below, at, above = (np.log(special.zeta(alphas + move, x_min)) for move in (-step, 0, step))
        slope = (above - below) / (2 * step) + mean_log
        alphas = alphas - slope / np.maximum((above - 2 * at + below) / step**2, 1e-6)
    return np.clip(alphas, SMALLEST_ALPHA, LARGEST_ALPHA)


def further_replicates(
    values: Integers,
    counts: Integers,
    tail: Tail,
    candidates: Integers,
    replicates: int,
    seed: int,
) -> int:
    """Return how many replicates are at least as far from their own fit as the data from theirs."""
    random = np.random.default_rng(seed)
    return sum(
        fit_tail(*_replicate(values, counts, tail, random), candidates).distance >= tail.distance
        for _ in range(replicates)
    )


def _replicate(
    values: Integers, counts: Integers, tail: Tail, random: np.random.Generator
) -> tuple[Integers, Integers]:
    """Return values and counts of as many tokens, drawn as the goodness of fit requires."""
    body = values < tail.x_min
    total = counts.sum()
    # 200 of 1,000 tokens in the tail: about 200 are drawn from the law, the others from the body
    in_tail = random.binomial(total, tail.tokens / total)
    drawn = [_drawn(tail, in_tail, random)]
    if body.any():
        shares = counts[body] / counts[body].sum()
        drawn.append((values[body], random.multinomial(total - in_tail, shares)))
    # the body first: `fit_tail` takes values in ascending order
    found, how_many = (np.concatenate(parts) for parts in zip(*drawn[::-1], strict=True))
    seen = how_many > 0
    return found[seen], how_many[seen]


def _drawn(tail: Tail, tokens: int, random: np.random.Generator) -> tuple[Integers, Integers]:
    table = np.arange(tail.x_min, tail.x_min + TABLE)
    whole = special.zeta(tail.alpha, tail.x_min)
    end = int(table[-1]) + 1
    beyond = special.zeta(tail.alpha, end) / whole
    # (10001,), the last beyond the table: at x_min 1 0.77 % with alpha 1.5, 0.006 % with alpha 2
    shares = np.append(table ** -float(tail.alpha) / whole, beyond)
    how_many = random.multinomial(tokens, shares / shares.sum())
    # from so large a value on, rounding a continuous power law is exact to 1e-9 (CSN, eq. D.6)
    far = (end - 0.5) * (1 - random.random(how_many[-1])) ** (-1 / (tail.alpha - 1)) + 0.5
    far_values, far_counts = np.unique(
        np.floor(np.minimum(far, LARGEST_VALUE)).astype(np.int64), return_counts=True
    )
    return np.append(table, far_values), np.append(how_many[:-1], far_counts)
