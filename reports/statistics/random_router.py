"""What a router that ignores tokens would score: the modal expert's share by chance.

A token seen once is perfectly consistent, so consistency falls with frequency whatever the router
does. So each value is reported beside what random routing with the layer's own load gives at as
many occurrences, and the means beside the held-out value, whose chance level is free of this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gatehouse.reports.statistics.arrays import Array

EXACT_UNTIL = 64
"""Every number of occurrences up to this one is computed: exactly, or from drawn sets."""

GRID_RATIO = 1.4
"""Beyond it, frequencies on a geometric grid are simulated, and the others interpolated."""

PATHS = 1_000
"""Simulated tokens at each point of the grid."""

SETS = 32_768
"""Sets of experts to draw: each is one occurrence of a rare token."""

SETS_AT_ONCE = 4_096

Counts = Callable[[int, np.random.Generator], Array]
"""From a number of occurrences to (paths, experts): how many of them went to each expert."""


@dataclass(frozen=True)
class UnbiasedConsistency:
    """Mean consistency of the token types with a held-out value: as it is, held out, by chance.

    `plain` counts on the occurrences that chose the modal expert, `held_out` on others, `random`
    is the expected plain value of random routing. `occurrence_share` of all occurrences belongs
    to the `held_out_tokens` of all `tokens`.
    """

    plain: float | None
    held_out: float | None
    random: float | None
    tokens: int
    held_out_tokens: int
    occurrence_share: float
    undefined: str | None = None


def unbiased_consistency(
    frequency: Array, plain: Array, held_out: Array, random: Array
) -> UnbiasedConsistency:
    """Average the three over the tokens that have a held-out value, so that they compare.

    Args:
        frequency: (tokens,) occurrences.
        plain: (tokens,) share of a token's occurrences that went to its modal expert.
        held_out: (tokens,) share of one half's occurrences that went to the other half's modal
            expert; nan where a token occurs in one half only.
        random: (tokens,) of `random_consistency`.

    Source: sample splitting, Cox (1975), A note on data-splitting; token types as in OLMoE's
    vocabulary specialisation (Muennighoff et al. 2024).
    """
    frequency = np.asarray(frequency, dtype=np.float64)
    kept = np.isfinite(held_out)
    tokens, count = int(kept.size), int(kept.sum())
    if count == 0:
        reason = "no token occurs in both halves"
        return UnbiasedConsistency(None, None, None, tokens, 0, 0.0, reason)
    means = [float(np.asarray(values)[kept].mean()) for values in (plain, held_out, random)]
    share = float(frequency[kept].sum() / frequency.sum())
    return UnbiasedConsistency(means[0], means[1], means[2], tokens, count, share)


def random_consistency(frequency: Array, load: Array, seed: int = 0) -> Array:
    """Return (tokens,): the expected share of the modal expert if first choices are random.

    Exact up to 64 occurrences, about 0.5 % off beyond, by simulation and interpolation.

    Args:
        frequency: (tokens,) occurrences, integers of at least 1.
        load: (experts,) shares of first choices, of any sum above 0.

    Raises:
        ValueError: a frequency is under 1, or loads are negative or all zero.

    Source: a multinomial's largest count; the exact values from its generating function,
    P(max <= m) = n! [z^n] prod_e sum_{j <= m} (p_e z)^j / j!, as in Levin (1981), A representation
    for multinomial cumulative distribution functions.
    """
    shares = _shares(load)
    few = _exact_modal_shares(shares)
    return _by_frequency(frequency, few, partial(_multinomial_counts, shares), seed)


def random_specialisation(
    frequency: Array, selection_shares: Array, top_k: int, seed: int = 0
) -> Array:
    """Return (tokens,): the expected share of occurrences that select a token's modal expert.

    As `random_consistency`, with `top_k` distinct experts at each occurrence. They are drawn by
    randomised systematic sampling, which selects each expert exactly as often as the layer does:
    unlike successive (Gumbel) sampling it needs no fitted weights, and gives the same values within
    0.4 %. Beyond 64 occurrences counts are binomials, corrected to sum to top_k per occurrence, as
    in rejective sampling.

    Args:
        frequency: (tokens,) occurrences, integers of at least 1.
        selection_shares: (experts,) how often each expert is selected, of any sum above 0.
        top_k: experts selected at each occurrence.

    Raises:
        ValueError: a frequency is under 1, shares are negative or all zero, or an expert has
            more than 1 / top_k of the selections, which no choice of distinct experts gives it.

    Source: OLMoE's vocabulary specialisation (Muennighoff et al. 2024), max_e c(x, e) / n(x);
    sampling: Goodman & Kish (1950), Controlled selection; variances of rejective sampling: Hajek
    (1964).
    """
    inclusion = top_k * _shares(selection_shares)
    if inclusion.max() > 1 + 1e-9:
        raise ValueError(f"an expert has more than 1/{top_k} of the selections")
    inclusion = np.minimum(inclusion, 1)
    few = _drawn_modal_shares(inclusion, np.random.default_rng(seed))
    return _by_frequency(frequency, few, partial(_selection_counts, inclusion), seed)


def _shares(load: Array) -> Array:
    load = np.asarray(load, dtype=np.float64)
    if not (load >= 0).all() or not load.sum() > 0:
        raise ValueError("loads must be at least 0 and not all zero")
    return load / load.sum()


def _by_frequency(frequency: Array, few: Array, counts: Counts, seed: int) -> Array:
    """Return (tokens,) from the modal shares of few occurrences and from simulated counts."""
    occurrences = np.asarray(frequency, dtype=np.int64)
    if occurrences.size == 0:
        return np.zeros(0)
    if occurrences.min() < 1:
        raise ValueError("every token must occur at least once")
    points, shares = np.arange(1, few.size + 1), few
    if occurrences.max() > few.size:
        random = np.random.default_rng(seed)
        # from 64 to 1,000 occurrences: 9 steps, to 87, 118, 160, 218, 295, 401, 543, 737 and 1,000
        steps = int(np.ceil(np.log(occurrences.max() / few.size) / np.log(GRID_RATIO)))
        grid = np.ceil(np.geomspace(few.size, occurrences.max(), steps + 1)[1:]).astype(np.int64)
        beyond = [counts(int(count), random).max(axis=1).mean() / count for count in grid]
        points, shares = np.concatenate([points, grid]), np.concatenate([few, beyond])
    # a largest share falls towards its limit about as one over the root of the occurrences
    return np.interp(-1 / np.sqrt(occurrences), -1 / np.sqrt(points), shares)


def _multinomial_counts(shares: Array, occurrences: int, random: np.random.Generator) -> Array:
    return random.multinomial(occurrences, shares, PATHS).astype(np.float64)


def _selection_counts(inclusion: Array, occurrences: int, random: np.random.Generator) -> Array:
    """Return (paths, experts) counts: binomials, corrected to sum to top_k times occurrences."""
    # two of three experts, selected with p = (1, 0.6, 0.4), at 100 occurrences: if a row of
    # binomials sums to 206 instead of 200, then (0, 3, 3) is taken off, by each one's variance
    spread = inclusion * (1 - inclusion)
    counts = random.binomial(occurrences, inclusion, (PATHS, inclusion.size)).astype(np.float64)
    if spread.sum() > 0:
        excess = counts.sum(axis=1) - occurrences * inclusion.sum()
        counts -= np.outer(excess, spread / spread.sum())
    return counts


def _exact_modal_shares(shares: Array) -> Array:
    """Return (64,): the expected largest share of 1 to 64 multinomial draws."""
    powers = np.arange(EXACT_UNTIL + 1)
    factorials = special.gammaln(powers + 1)
    # (experts, 65): row e holds p_e^j / j!, the coefficients of its polynomial in z
    terms = np.exp(special.xlogy(powers, shares[shares > 0, None]) - factorials)
    largest = np.zeros(EXACT_UNTIL + 1)
    # two even experts, two draws: P(max <= 1) is 2! [z^2] (1 + z / 2)^2 = 1 / 2, so the expected
    # maximum P(max > 0) + P(max > 1) is 1 + 1 / 2, and the modal expert's share 1.5 / 2 = 0.75
    for most in range(EXACT_UNTIL):
        product = np.ones(1)
        for polynomial in terms[:, : most + 1]:
            product = np.convolve(product, polynomial)[: EXACT_UNTIL + 1]
        under = np.zeros(EXACT_UNTIL + 1)
        under[: product.size] = product
        largest += np.where(powers > most, 1 - under * np.exp(factorials), 0)
    return largest[1:] / powers[1:]


def _drawn_modal_shares(inclusion: Array, random: np.random.Generator) -> Array:
    """Return (64,): the mean largest share of 1 to 64 drawn sets, each set counted once in each."""
    chosen = np.concatenate([_sets(inclusion, random) for _ in range(SETS // SETS_AT_ONCE)])
    running = np.zeros((SETS + 1, inclusion.size), dtype=np.int32)
    np.cumsum(chosen, axis=0, out=running[1:])
    # at count 3, differences of every third sum: (10922, experts) counts of tokens seen 3 times
    modal = [
        np.diff(running[::count], axis=0).max(axis=1).mean() / count
        for count in range(1, EXACT_UNTIL + 1)
    ]
    return np.array(modal)


def _sets(inclusion: Array, random: np.random.Generator) -> NDArray[np.bool_]:
    """Return (sets, experts): experts in random order, taken wherever the sum passes an integer."""
    # p = (0.9, 0.6, 0.5), top_k = 2, start 0.3: the sums 1.2, 1.8, 2.3 pass 1 at the first expert
    # and 2 at the third, which are the set; whatever the start, two integers are passed
    order = np.argsort(random.random((SETS_AT_ONCE, inclusion.size)), axis=1)
    ends = np.cumsum(inclusion[order], axis=1) + random.random((SETS_AT_ONCE, 1))
    passed = np.floor(ends)
    taken = np.diff(passed, axis=1, prepend=0) > 0
    chosen = np.zeros_like(taken)
    np.put_along_axis(chosen, order, taken, axis=1)
    return chosen
