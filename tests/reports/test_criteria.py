"""The specification's criteria and grade tables, at and around their borders."""

import math

import pytest

from reports.criteria import correlation_criterion, coverage_criterion, low_entropy_criterion
from reports.statistics import Correlation, EntropyDistribution, FastPath


@pytest.mark.parametrize(
    ("rho", "p_value", "met", "grade"),
    [
        (-0.61, 1e-9, True, "Excellent"),
        (-0.60, 1e-9, True, "Good"),
        (-0.61, 0.001, True, "Good"),
        (-0.41, 0.009, True, "Good"),
        (-0.40, 1e-9, False, "Acceptable"),
        (-0.41, 0.01, False, "Acceptable"),
        (-0.31, 0.049, False, "Acceptable"),
        (-0.30, 1e-9, False, "Insufficient"),
        (-0.61, 0.05, False, "Insufficient"),
        (0.80, 1e-9, False, "Insufficient"),
        (-0.80, 0.0, True, "Excellent"),
    ],
)
def test_correlation(rho, p_value, met, grade):
    log10_p = math.log10(p_value) if p_value else -400.0
    criterion = correlation_criterion(Correlation(rho, p_value, log10_p, rho))
    assert (criterion.met, criterion.grade) == (met, grade)
    assert f"{rho:.3f}" in criterion.found


@pytest.mark.parametrize(
    ("share", "met", "grade"),
    [
        (0.51, True, "Excellent"),
        (0.50, True, "Good"),
        (0.40, True, "Acceptable"),
        (0.30, True, "Acceptable"),
        (0.299, False, "Insufficient"),
    ],
)
def test_low_entropy_share(share, met, grade):
    criterion = low_entropy_criterion(EntropyDistribution(1, 1, 1, 0.5, share))
    assert (criterion.met, criterion.grade) == (met, grade)


@pytest.mark.parametrize(
    ("coverage", "met", "grade"),
    [
        (0.61, True, "Excellent"),
        (0.60, True, "Good"),
        (0.50, True, "Acceptable"),
        (0.401, True, "Acceptable"),
        (0.40, False, "Insufficient"),
    ],
)
def test_coverage(coverage, met, grade):
    criterion = coverage_criterion(FastPath(1, 0.1, coverage))
    assert (criterion.met, criterion.grade) == (met, grade)


def test_an_undefined_correlation_is_said_and_not_met():
    criterion = correlation_criterion(Correlation(None, None, None, None, "all are equal"))
    assert criterion.found == "undefined: all are equal"
    assert (criterion.met, criterion.grade) == (False, "Insufficient")
