"""Laws, agreement with SciPy and with naive recomputation; nothing undefined passes as nan."""

import itertools
import math
import statistics as standard

import numpy as np
import pytest
from scipy import integrate, stats

from gatehouse.reports.statistics import (
    CONSISTENCY_RANKS,
    ENTROPY_THRESHOLDS,
    FREQUENCY_THRESHOLDS,
    Correlation,
    consistency,
    coverage_grid,
    entropy_distribution,
    entropy_thresholds,
    fast_path,
    frequency_entropy,
    zipf,
)

SEEDS = range(5)


def sample(seed: int, tokens: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    frequency = np.ceil(random.pareto(1.1, tokens) * 5).astype(int)
    return frequency, np.clip(1.5 - 0.2 * np.log(frequency) + random.normal(0, 0.3, tokens), 0, 2)


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.6])
def test_exact_power_law_of_frequency_plus_one_fits_perfectly(exponent):
    ranks = np.arange(1, 501)
    frequency = 1e6 / ranks**exponent - 1
    assert zipf(frequency).r_squared == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_zipf_equals_the_least_squares_line_by_hand_in_any_order(seed):
    frequency, _ = sample(seed)
    ordered = sorted(frequency.tolist(), reverse=True)
    x = np.log(np.arange(1, len(ordered) + 1))
    y = np.log(np.array(ordered) + 1)
    slope, intercept = np.polyfit(x, y, 1)
    residual = np.sum((y - slope * x - intercept) ** 2)
    result = zipf(np.random.default_rng(0).permutation(frequency))
    assert result.r_squared == pytest.approx(1 - residual / np.sum((y - y.mean()) ** 2))
    assert result.coverage[10] == pytest.approx(sum(ordered[:10]) / sum(ordered))
    assert result.coverage[100] == pytest.approx(sum(ordered[:100]) / sum(ordered))
    assert result.coverage[1000] == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_correlation_agrees_with_scipy_and_numpy(seed):
    frequency, entropy = sample(seed)
    result = frequency_entropy(frequency, entropy)
    expected = stats.spearmanr(frequency, entropy)
    ranks = np.corrcoef(stats.rankdata(frequency), stats.rankdata(entropy))[0, 1]
    assert result.spearman == pytest.approx(expected.statistic) == pytest.approx(ranks)
    assert result.p_value == pytest.approx(expected.pvalue)
    assert result.log10_p == pytest.approx(math.log10(expected.pvalue))
    pearson = stats.pearsonr(np.log(frequency + 1), entropy).statistic
    assert result.pearson == pytest.approx(pearson)


@pytest.mark.parametrize("seed", SEEDS)
def test_spearman_is_unchanged_by_monotone_maps_and_changes_sign_with_its_argument(seed):
    frequency, entropy = sample(seed)
    rho = frequency_entropy(frequency, entropy).spearman
    assert frequency_entropy(frequency**3, np.exp(entropy)).spearman == pytest.approx(rho)
    assert frequency_entropy(frequency, -entropy).spearman == pytest.approx(-rho)


def log10_p_by_integration(rho: float, tokens: int) -> float:
    """Integrate Student's density from t outwards, in units of its value at t."""
    freedom = tokens - 2
    start = abs(rho) * math.sqrt(freedom / (1 - rho**2))
    scale = (freedom + start**2) / ((freedom + 1) * start)
    grid = start + scale * np.linspace(0, 60, 200_001)
    log_density = stats.t.logpdf(grid, freedom)
    area = integrate.simpson(np.exp(log_density - log_density[0]), x=grid)
    return (math.log(2) + log_density[0] + math.log(area)) / math.log(10)


@pytest.mark.parametrize(("tokens", "noise"), [(3_000, 0.5), (20_000, 1.0), (200_000, 4.0)])
def test_p_below_the_smallest_float_has_a_finite_logarithm(tokens, noise):
    random = np.random.default_rng(0)
    entropy = random.normal(size=tokens)
    frequency = -entropy + noise * random.normal(size=tokens)
    assert stats.spearmanr(frequency, entropy).pvalue == 0
    result = frequency_entropy(frequency, entropy)
    assert result.p_value == 0
    expected = log10_p_by_integration(result.spearman, tokens)
    assert result.log10_p == pytest.approx(expected, rel=0, abs=1e-6)


def tied(tokens: int) -> list[np.ndarray]:
    """Return every way in which ascending values can be tied, not all of them equal."""
    steps = itertools.product((0, 1), repeat=tokens - 1)
    return [np.cumsum((1, *each)) for each in steps if any(each)]


@pytest.mark.parametrize("tokens", [3, 4, 5, 6, 7])
def test_p_of_a_perfect_order_is_what_enumeration_of_all_orders_gives(tokens):
    orders = np.array(list(itertools.permutations(range(tokens))))
    for frequency in tied(tokens):
        ranks = stats.rankdata(frequency) - (tokens + 1) / 2
        rhos = ranks[orders] @ ranks / (ranks @ ranks)
        expected = np.mean(np.abs(rhos) > 1 - 1e-9)
        for sign in (1, -1):
            result = frequency_entropy(frequency, sign * frequency)
            assert result.spearman == pytest.approx(sign)
            assert result.p_value == pytest.approx(expected)


@pytest.mark.parametrize("tokens", [3, 4, 5])
def test_an_order_is_perfect_only_if_both_variables_have_the_same_ties(tokens):
    for frequency, entropy in itertools.product(tied(tokens), repeat=2):
        rising = frequency_entropy(frequency, entropy)
        falling = frequency_entropy(frequency, -entropy)
        same = (frequency == entropy).all()
        for result in (rising, falling):
            assert (abs(result.spearman) > 1 - 1e-12) == same


@pytest.mark.parametrize("p_value", [1.0, 0.0345, 9.996e-5, 1.234e-145, 5e-300])
def test_p_text_is_the_usual_notation(p_value):
    text = Correlation(-0.5, p_value, math.log10(p_value), -0.5).p_text
    assert text == f"{p_value:.2e}"


def test_p_text_of_an_underflow_keeps_mantissa_and_exponent():
    assert Correlation(-0.9, 0.0, -1234.0 + math.log10(5.678), -0.9).p_text == "5.68e-1234"
    assert Correlation(-0.9, 0.0, -1234.0 + math.log10(9.999), -0.9).p_text == "1.00e-1233"


@pytest.mark.parametrize(
    ("frequency", "entropy", "reason"),
    [
        ([5, 5, 5, 5], [0.1, 0.2, 0.3, 0.4], "all frequencies are equal"),
        ([5, 6, 7, 8], [0.3, 0.3, 0.3, 0.3], "all mean entropies are equal"),
        ([5, 6], [0.1, 0.2], "fewer than 3 tokens"),
    ],
)
def test_what_the_data_cannot_define_is_none_with_a_reason(frequency, entropy, reason):
    result = frequency_entropy(np.array(frequency), np.array(entropy))
    assert result == Correlation(None, None, None, None, reason)
    assert result.p_text == f"undefined: {reason}"


def test_zipf_of_equal_frequencies_is_none_with_a_reason():
    result = zipf(np.full(20, 7))
    assert (result.r_squared, result.undefined) == (None, "all frequencies are equal")
    assert result.coverage[10] == 0.5


def test_a_vanishing_spread_of_entropy_never_gives_nan():
    result = frequency_entropy(np.array([1, 2, 3, 4]), np.array([0, 0, 0, 1e-200]))
    assert np.isfinite([result.spearman, result.log10_p]).all()
    assert result.pearson is None or math.isfinite(result.pearson)


@pytest.mark.parametrize("seed", SEEDS)
def test_entropy_distribution_agrees_with_the_standard_library(seed):
    _, entropy = sample(seed)
    values = entropy.tolist()
    result = entropy_distribution(entropy, 0.5)
    assert result.mean == pytest.approx(standard.mean(values))
    assert result.std == pytest.approx(standard.stdev(values))
    assert result.median == pytest.approx(standard.median(values))
    assert result.low_entropy_share == sum(value < 0.5 for value in values) / len(values)


def test_a_token_at_the_entropy_threshold_is_not_under_it():
    assert entropy_distribution(np.array([0.4, 0.5, 0.6, 0.5]), 0.5).low_entropy_share == 0.25


def test_consistency_of_the_most_frequent_tokens():
    random = np.random.default_rng(3)
    frequency = random.permutation(np.arange(1, 1501))
    values = random.uniform(size=1500)
    pairs = sorted(zip(frequency, values, strict=True), reverse=True)
    result = consistency(frequency, values)
    assert result.mean == pytest.approx(standard.mean(values.tolist()))
    top = [value for _, value in pairs[:CONSISTENCY_RANKS]]
    assert result.top_mean == pytest.approx(standard.mean(top))
    assert result.top_tokens == CONSISTENCY_RANKS
    assert consistency(frequency[:7], values[:7]).top_tokens == 7


def test_equal_frequencies_keep_the_given_order():
    values = np.linspace(0, 1, 1500)
    result = consistency(np.repeat([3, 7], [700, 800]), values)
    assert result.top_mean == pytest.approx(np.concatenate([values[700:], values[:200]]).mean())


def test_fast_path_thresholds_are_strict():
    frequency, entropy = np.array([50, 51, 51, 48]), np.array([0.1, 0.1, 0.5, 0.1])
    result = fast_path(frequency, entropy, 50, 0.5)
    assert (result.eligible_tokens, result.eligible_share) == (1, 0.25)
    assert result.coverage == pytest.approx(51 / 200)


def test_the_grid_reaches_as_far_as_an_entropy_can():
    assert entropy_thresholds(math.log(8)) == ENTROPY_THRESHOLDS == entropy_thresholds(0.1)
    for experts in (24, 64, 128, 512):
        highest = entropy_thresholds(math.log(experts))[-1]
        assert math.log(experts) - 0.5 <= highest < math.log(experts)


@pytest.mark.parametrize("seed", SEEDS)
def test_coverage_grid_is_monotone_and_equals_naive_counting(seed):
    frequency, entropy = sample(seed)
    thresholds = entropy_thresholds(4.0)
    grid = coverage_grid(frequency, entropy, thresholds)
    assert (np.diff(grid, axis=0) <= 0).all()
    assert (np.diff(grid, axis=1) >= 0).all()
    pairs = list(zip(frequency.tolist(), entropy.tolist(), strict=True))
    for row, least in enumerate(FREQUENCY_THRESHOLDS):
        for column, most in enumerate(thresholds):
            covered = sum(count for count, nats in pairs if count > least and nats < most)
            assert grid[row, column] == pytest.approx(covered / sum(frequency.tolist()))
