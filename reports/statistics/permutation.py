"""What rho would be if entropy ignored frequency: entropies are permuted among the tokens."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from gatehouse.reports.statistics.arrays import LEAST_TOKENS, Array

TOKENS_AT_ONCE = 2_000_000
"""Permuted ranks held in memory at once: 16 MB."""

ROUNDING = 1e-12
"""Two orders of the same ranks may differ by this much in rho and still be equal."""


@dataclass(frozen=True)
class PermutationNull:
    """The middle 95 % of rho under permutation, and the two-sided p of the rho that was found."""

    low: float
    high: float
    p_value: float
    permutations: int


def permutation_nulls(
    frequency: Array, mean_entropies: Array, permutations: int = 999, seed: int = 0
) -> list[PermutationNull | None]:
    """Return each layer's null distribution of Spearman's rho between frequency and mean entropy.

    All layers share the permutations, so that their p values may be compared.

    Args:
        frequency: (tokens,) occurrences.
        mean_entropies: (layers, tokens) nats.
        permutations: how many; the smallest possible p is 1 / (1 + permutations).

    Returns:
        One for each layer, None where frequency or the layer's entropy is constant, or where
        there are fewer than 3 tokens.

    Source: Davison & Hinkley (1997), Bootstrap Methods, section 4.3:
    p = (1 + #{|rho*| >= |rho|}) / (1 + permutations).
    """
    mean_entropies = np.atleast_2d(np.asarray(mean_entropies, dtype=np.float64))
    ranks = _unit_ranks(np.asarray(frequency, dtype=np.float64))
    layers = [_unit_ranks(layer) for layer in mean_entropies]
    defined = [index for index, layer in enumerate(layers) if layer is not None]
    found: list[PermutationNull | None] = [None] * len(layers)
    if ranks is None or not defined:
        return found
    of_layers = np.stack([layer for layer in layers if layer is not None], axis=1)
    permuted = _permuted_rhos(ranks, of_layers, permutations, seed)
    observed = ranks @ of_layers
    extreme = (np.abs(permuted) >= np.abs(observed) - ROUNDING).sum(axis=0)
    low, high = np.quantile(permuted, [0.025, 0.975], axis=0)
    for column, index in enumerate(defined):
        p_value = (1 + int(extreme[column])) / (1 + permutations)
        found[index] = PermutationNull(
            float(low[column]), float(high[column]), p_value, permutations
        )
    return found


def _permuted_rhos(ranks: Array, of_layers: Array, permutations: int, seed: int) -> Array:
    """Return (permutations, layers) rho: one product of permuted frequency ranks and entropies."""
    random = np.random.default_rng(seed)
    at_once = max(1, TOKENS_AT_ONCE // ranks.size)
    rhos = []
    for done in range(0, permutations, at_once):
        rows = min(at_once, permutations - done)
        rhos.append(random.permuted(np.tile(ranks, (rows, 1)), axis=1) @ of_layers)
    return np.concatenate(rhos)


def _unit_ranks(values: Array) -> Array | None:
    """Return ranks with mean 0 and length 1: the product of two such vectors is rho."""
    if values.size < LEAST_TOKENS or np.ptp(values) == 0:
        return None
    ranks = stats.rankdata(values)
    ranks -= ranks.mean()
    return ranks / np.linalg.norm(ranks)
