"""Exponents recovered, agreement with powerlaw and SciPy, a goodness of fit that can reject."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, special, stats

from gatehouse.reports.statistics import CANDIDATES, fit_mandelbrot, fit_zipf
from gatehouse.reports.statistics.tail import candidates_of

LARGEST = 10**9


def power_law(alpha: float, tokens: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).zipf(alpha, tokens).clip(max=LARGEST)


@pytest.mark.parametrize("alpha", [1.7, 2.0, 2.5, 3.6])
def test_the_exponent_is_recovered_within_three_standard_errors(alpha):
    fit = fit_zipf(power_law(alpha, 5_000), replicates=20)
    assert abs(fit.alpha - alpha) < 3 * fit.alpha_error
    assert fit.rank_exponent == pytest.approx(1 / (fit.alpha - 1))
    assert fit.p_value >= 0.05
    assert fit.lognormal.preferred != "lognormal"


def test_a_body_that_is_no_power_law_is_left_below_x_min():
    random = np.random.default_rng(1)
    tail = np.floor(19.5 * (1 - random.random(6_000)) ** (-1 / 1.3) + 0.5).astype(int)
    fit = fit_zipf(np.concatenate([random.integers(1, 20, 6_000), tail]), replicates=20)
    assert 15 <= fit.x_min <= 40
    assert abs(fit.alpha - 2.3) < 3 * fit.alpha_error
    assert fit.p_value >= 0.05


@pytest.mark.filterwarnings("ignore:Initial guess is not within the specified bounds")
@pytest.mark.parametrize("seed", range(4))
def test_the_exponent_is_that_of_scipy_and_of_powerlaw(seed):
    import powerlaw

    frequency = power_law(2.2, 3_000, seed)
    fit = fit_zipf(frequency, replicates=0)
    tail = frequency[frequency >= fit.x_min]

    def loss(alpha: float) -> float:
        return alpha * np.log(tail).mean() + np.log(special.zeta(alpha, fit.x_min))

    best = optimize.minimize_scalar(loss, bounds=(1.01, 6), method="bounded").x
    theirs = powerlaw.Fit(
        tail, discrete=True, xmin=fit.x_min, estimate_discrete=False, verbose=0
    ).power_law
    assert fit.alpha == pytest.approx(best, abs=1e-4)
    assert fit.alpha == pytest.approx(theirs.alpha, abs=1e-3)
    assert fit.alpha_error == pytest.approx(theirs.standard_err, rel=0.3)
    assert fit.tail_tokens == tail.size
    assert fit.p_value is None


def test_the_distance_is_the_largest_over_all_integers():
    frequency = power_law(2.5, 400)
    fit = fit_zipf(frequency, replicates=0)
    tail = frequency[frequency >= fit.x_min]
    values = np.arange(fit.x_min, tail.max() + 1)
    law = np.cumsum(values**-fit.alpha) / special.zeta(fit.alpha, fit.x_min)
    data = np.searchsorted(np.sort(tail), values, side="right") / tail.size
    assert fit.distance == pytest.approx(np.abs(law - data).max())


def test_the_ratio_against_the_lognormal_is_that_of_powerlaw():
    import powerlaw

    frequency = power_law(1.8, 40_000)
    fit = fit_zipf(frequency, replicates=0)
    theirs = powerlaw.Fit(frequency, discrete=True, xmin=fit.x_min, verbose=0)
    ratio, p_value = theirs.distribution_compare("power_law", "lognormal", normalized_ratio=True)
    assert fit.lognormal.ratio == pytest.approx(ratio, rel=0.02)
    assert fit.lognormal.p_value == pytest.approx(p_value, rel=0.1)
    assert fit.lognormal.preferred == "power law"
    assert fit.lognormal.mu == pytest.approx(theirs.lognormal.mu)
    assert fit.lognormal.sigma == pytest.approx(theirs.lognormal.sigma)


def test_goodness_of_fit_of_true_power_laws_is_about_uniform():
    found = [fit_zipf(power_law(2.1, 500, seed), 40, seed).p_value for seed in range(60)]
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.1) < 0.25


@pytest.mark.parametrize(
    "frequency",
    [
        np.random.default_rng(0).integers(1, 200, 3_000),
        (lambda values: values[values < 50])(power_law(1.5, 4_000)),
    ],
    ids=["uniform", "cut off"],
)
def test_goodness_of_fit_rejects_what_is_no_power_law_at_any_x_min(frequency):
    fit = fit_zipf(frequency)
    assert fit.p_value < 0.02
    assert fit.lognormal.preferred == "lognormal"


def test_goodness_of_fit_rejects_exponential_data_more_often_than_true_power_laws():
    """Not always: x_min can move to the far tail, where the few tokens left look like any law."""
    found = [
        fit_zipf(np.random.default_rng(seed).geometric(0.1, 5_000), 50, seed) for seed in range(12)
    ]
    assert np.mean([fit.p_value < 0.1 for fit in found]) > 0.4
    assert {fit.lognormal.preferred for fit in found} == {"lognormal", None}


@pytest.mark.parametrize(
    ("frequency", "reason"),
    [(np.arange(1, 50), "fewer than 50 tokens"), (np.full(80, 3), "all frequencies are equal")],
)
def test_what_cannot_be_fitted_is_undefined_with_a_reason(frequency, reason):
    fit = fit_zipf(frequency)
    assert fit.undefined == reason
    assert fit.alpha is fit.x_min is fit.p_value is fit.lognormal is fit.mandelbrot is None


@pytest.mark.parametrize(
    ("p_value", "replicates", "text"),
    [
        (0.0, 100, "p < 0.01"),
        (0.01, 100, "p = 0.01"),
        (1.0, 100, "p = 1.00"),
        (0.0, 20, "p < 0.05"),
        (0.001, 1000, "p = 0.001"),
        (None, 0, None),
    ],
)
def test_p_is_never_printed_as_0(p_value, replicates, text):
    fit = replace(fit_zipf(np.ones(2)), p_value=p_value, replicates=replicates)
    assert fit.p_text == text


@pytest.mark.parametrize("frequency", [np.arange(1, 5_000), power_law(1.8, 4_000)])
def test_no_more_cut_offs_are_tried_than_the_report_says(frequency):
    values, counts = np.unique(frequency, return_counts=True)
    assert 1 < candidates_of(values, counts).size <= CANDIDATES


@pytest.mark.parametrize("frequency", [[1] * 49 + [2], [1] * 60 + [10**6], list(range(1, 51))])
def test_hardly_enough_tokens_never_give_nan(frequency):
    fit = fit_zipf(np.array(frequency), replicates=10)
    numbers = (fit.alpha, fit.alpha_error, fit.rank_exponent, fit.distance, fit.p_value)
    assert fit.undefined is None
    assert np.isfinite(numbers).all()


def test_the_order_of_tokens_does_not_matter_and_the_seed_decides():
    frequency = power_law(2.0, 300)
    shuffled = np.random.default_rng(0).permutation(frequency)
    assert fit_zipf(frequency, 20) == fit_zipf(shuffled, 20)


def by_rank(shift: float, exponent: float, tokens: int = 2_000) -> np.ndarray:
    shares = (np.arange(1, tokens + 1) + shift) ** -exponent
    return np.random.default_rng(0).multinomial(3_000_000, shares / shares.sum())


@pytest.mark.parametrize(("shift", "exponent"), [(2.7, 1.0), (20.0, 1.3)])
def test_the_shift_of_mandelbrots_law_is_recovered(shift, exponent):
    fit = fit_mandelbrot(by_rank(shift, exponent))
    assert fit.shift == pytest.approx(shift, rel=0.05)
    assert fit.exponent == pytest.approx(exponent, rel=0.01)
    assert fit.p_value < 1e-6
    assert fit.zipf_exponent < fit.exponent


def test_the_mandelbrot_fit_is_the_summit_and_zipfs_is_scipys_zipfian():
    frequency = np.sort(by_rank(5.0, 1.1, 300))[::-1]
    ranks = np.arange(1, 301)

    def loss(shift: float, exponent: float) -> float:
        shares = (ranks + shift) ** -exponent
        return -float(frequency @ np.log(shares / shares.sum()))

    fit = fit_mandelbrot(frequency)
    best = loss(fit.shift, fit.exponent)
    for shift, exponent in ((1.01, 1), (0.99, 1), (1, 1.001), (1, 0.999)):
        assert loss(fit.shift * shift, fit.exponent * exponent) > best
    plain = -frequency @ stats.zipfian.logpmf(ranks, fit.zipf_exponent, 300)
    assert fit.ratio == pytest.approx(2 * (plain - best), rel=1e-6)


def test_data_without_a_shift_have_none():
    exact = 1e9 / np.arange(1, 501)
    fit = fit_mandelbrot(exact)
    assert fit.shift == pytest.approx(0, abs=1e-3)
    assert fit.exponent == pytest.approx(1, abs=1e-3)
    assert fit.zipf_exponent == pytest.approx(1, abs=1e-4)
    assert fit.p_value > 0.1


LAZY = """
import sys
from dataclasses import replace
from gatehouse.reports import statistics
assert not {"matplotlib", "powerlaw"} & set(sys.modules)
"""


def test_only_a_fit_imports_powerlaw():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
