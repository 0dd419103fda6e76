"""Rank correlations: laws, agreement with SciPy and with hand-worked examples, null p values."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gatehouse.reports.statistics import (
    frequency_entropy,
    holm,
    kendall,
    partial_spearman,
    permutation_nulls,
    spearman_by_minimum,
)

SIMULATIONS = 300


def sample(seed: int, tokens: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    frequency = np.ceil(random.pareto(1.1, tokens) * 5).astype(int)
    return frequency, np.clip(1.5 - 0.2 * np.log(frequency) + random.normal(0, 0.3, tokens), 0, 2)


def unrelated(seed: int, tokens: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return np.ceil(random.pareto(1.1, tokens) * 5), random.uniform(0, 2, tokens)


@pytest.mark.parametrize("seed", range(3))
def test_kendall_equals_counting_pairs_and_ignores_monotone_maps(seed):
    frequency, entropy = sample(seed, 80)
    signs = [
        (np.sign(frequency[i] - frequency[j]), np.sign(entropy[i] - entropy[j]))
        for i, j in itertools.combinations(range(80), 2)
    ]
    x, y = np.array(signs).T
    expected = (x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum())
    assert kendall(frequency, entropy) == pytest.approx(expected)
    assert kendall(frequency**3, np.exp(entropy)) == pytest.approx(expected)
    assert kendall(frequency, -entropy) == pytest.approx(-expected)


@pytest.mark.parametrize("seed", range(3))
def test_partial_spearman_equals_the_correlation_of_residual_ranks(seed):
    frequency, entropy = sample(seed)
    held = np.log(frequency) + np.random.default_rng(seed + 9).normal(size=frequency.size)
    ranks = [stats.rankdata(each) for each in (frequency, entropy, held)]
    residuals = [each - np.polyval(np.polyfit(ranks[2], each, 1), ranks[2]) for each in ranks[:2]]
    expected = stats.pearsonr(*residuals).statistic
    assert partial_spearman(frequency, entropy, held) == pytest.approx(expected)
    assert partial_spearman(entropy, frequency, held) == pytest.approx(expected)
    assert partial_spearman(frequency, entropy, -np.exp(held)) == pytest.approx(expected)


def test_what_explains_both_leaves_nothing():
    random = np.random.default_rng(0)
    held = random.normal(size=20_000)
    frequency, entropy = (held + random.normal(size=held.size) for _ in range(2))
    assert frequency_entropy(frequency, entropy).spearman > 0.4
    assert partial_spearman(frequency, entropy, held) == pytest.approx(0, abs=0.03)


def test_undefined_correlations_are_none():
    frequency, entropy = sample(0)
    constant = np.ones(frequency.size)
    assert kendall(constant, entropy) is None
    assert kendall(frequency[:2], entropy[:2]) is None
    assert partial_spearman(frequency, entropy, constant) is None
    assert partial_spearman(frequency, entropy, entropy**2) is None


def test_minima_keep_the_tokens_that_reach_them():
    frequency, entropy = sample(1)
    found = spearman_by_minimum(frequency, entropy, (1, 20, 10**9))
    kept = frequency >= 20
    assert [each.minimum for each in found] == [1, 20, 10**9]
    assert [each.tokens for each in found] == [300, kept.sum(), 0]
    assert found[0].spearman == frequency_entropy(frequency, entropy).spearman
    expected = stats.spearmanr(frequency[kept], entropy[kept]).statistic
    assert found[1].spearman == pytest.approx(expected)
    assert found[2].spearman is None


def test_holm_of_a_worked_example():
    """0.01, 0.04, 0.03, 0.005 times 3, 1, 2, 4; what is smaller than the one before is raised."""
    adjusted = holm([math.log10(p) for p in (0.01, 0.04, 0.03, 0.005)])
    assert [10**each for each in adjusted] == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("seed", range(5))
def test_laws_of_holm(seed):
    raw = np.log10(np.random.default_rng(seed).uniform(size=12) ** 6)
    adjusted = np.array(holm(raw.tolist()))
    bonferroni = np.minimum(0, raw + np.log10(12))
    assert (adjusted >= raw).all()
    assert (adjusted <= bonferroni + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw)]) >= 0).all()
    assert adjusted.min() == pytest.approx(bonferroni.min())


def test_holm_does_not_count_the_undefined_and_takes_p_below_any_float():
    assert holm([None, -1000.0, None]) == [None, -1000.0, None]
    assert holm([-1000.0, None, -2.0]) == [pytest.approx(-1000 + math.log10(2)), None, -2.0]
    assert holm([]) == []


def test_p_values_of_unrelated_data_are_uniform():
    exact, permuted = [], []
    for seed in range(SIMULATIONS):
        frequency, entropy = unrelated(seed)
        exact.append(frequency_entropy(frequency, entropy).p_value)
        (null,) = permutation_nulls(frequency, entropy[None], 199, seed)
        permuted.append(null.p_value)
    assert stats.kstest(exact, "uniform").pvalue > 0.01
    assert stats.kstest(permuted, "uniform").pvalue > 0.01


def test_a_permutation_null_agrees_with_theory_and_with_scipy():
    frequency, entropy = unrelated(0, 400)
    related = entropy - 0.01 * frequency
    nulls = permutation_nulls(frequency, np.array([entropy, related]), 999, seed=3)
    for null in nulls:
        assert null.low == pytest.approx(-1.96 / math.sqrt(399), abs=0.02)
        assert null.high == pytest.approx(1.96 / math.sqrt(399), abs=0.02)
        assert null.permutations == 999
    assert nulls[0].p_value == pytest.approx(stats.spearmanr(frequency, entropy).pvalue, abs=0.05)
    assert nulls[1].p_value == 1 / 1000


def test_a_permutation_p_of_few_tokens_is_that_of_all_orders():
    frequency, entropy = np.array([1, 2, 2, 5, 9]), np.array([0.9, 0.7, 0.8, 0.2, 0.4])
    observed = stats.spearmanr(frequency, entropy).statistic
    rhos = [stats.spearmanr(frequency, each).statistic for each in itertools.permutations(entropy)]
    exact = np.mean(np.abs(rhos) >= abs(observed) - 1e-9)
    (null,) = permutation_nulls(frequency, entropy[None], 20_000)
    assert null.p_value == pytest.approx(exact, abs=0.01)


def test_layers_do_not_change_each_others_null_and_undefined_ones_are_none():
    frequency, entropy = unrelated(1)
    constant = np.ones(entropy.size)
    together = permutation_nulls(frequency, np.array([entropy, constant, -entropy]), 99)
    assert together[0] == permutation_nulls(frequency, entropy[None], 99)[0]
    assert together[1] is None
    assert together[0].low == pytest.approx(-together[2].high)
    assert permutation_nulls(constant, entropy[None]) == [None]
    assert permutation_nulls(frequency[:2], entropy[None, :2]) == [None]
