"""The specification's criteria and grade tables, at and around their borders."""

import math

import numpy as np
import pytest

from gatehouse.reports.statistics import Correlation, EntropyDistribution, FastPath
from gatehouse.reports.verdict.criteria import LIMITS, Criterion, criteria, met

CORRELATION = Correlation(-0.5, 1e-9, -9.0, -0.5)
ENTROPY = EntropyDistribution(1, 1, 1, 0.5, 0.6)
FAST_PATH = FastPath(1, 0.1, 0.7)


def judged(measure: Correlation | EntropyDistribution | FastPath) -> Criterion:
    """Return the criterion of one measure, whatever the other two are."""
    given = {type(each): each for each in (CORRELATION, ENTROPY, FAST_PATH, measure)}
    found = criteria(given[Correlation], given[EntropyDistribution], given[FastPath])
    return found[list(given).index(type(measure))]


@pytest.mark.parametrize(
    ("rho", "p_value", "is_met", "grade"),
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
def test_correlation(rho, p_value, is_met, grade):
    log10_p = math.log10(p_value) if p_value else -400.0
    criterion = judged(Correlation(rho, p_value, log10_p, rho))
    assert (criterion.met, criterion.grade) == (is_met, grade)
    assert f"{rho:.3f}" in criterion.found


@pytest.mark.parametrize(
    ("share", "is_met", "grade"),
    [
        (0.51, True, "Excellent"),
        (0.50, True, "Good"),
        (0.40, True, "Acceptable"),
        (0.30, True, "Acceptable"),
        (0.299, False, "Insufficient"),
    ],
)
def test_low_entropy_share(share, is_met, grade):
    criterion = judged(EntropyDistribution(1, 1, 1, 0.5, share))
    assert (criterion.met, criterion.grade) == (is_met, grade)


@pytest.mark.parametrize(
    ("coverage", "is_met", "grade"),
    [
        (0.61, True, "Excellent"),
        (0.60, True, "Good"),
        (0.50, True, "Acceptable"),
        (0.401, True, "Acceptable"),
        (0.40, False, "Insufficient"),
    ],
)
def test_coverage(coverage, is_met, grade):
    criterion = judged(FastPath(1, 0.1, coverage))
    assert (criterion.met, criterion.grade) == (is_met, grade)


def test_an_undefined_correlation_is_said_and_not_met():
    criterion = judged(Correlation(None, None, None, None, "all are equal"))
    assert criterion.found == "undefined: all are equal"
    assert (criterion.met, criterion.grade) == (False, "Insufficient")


def test_columns_are_judged_like_floats_and_nan_meets_nothing():
    values = np.array([np.nan, -0.9, -0.4, 0.3, 0.4, 0.5])
    columns = met(values, np.full(values.size, -3.0), values, values)
    floats = [met(value, -3.0, value, value) for value in values.tolist()]
    assert [each.tolist() for each in columns] == [list(each) for each in zip(*floats)]
    assert not any(column[0] for column in columns)
    assert not any(met(-0.9, np.nan, np.nan, np.nan))


def test_every_limit_is_the_border_of_its_criterion():
    rho, share, coverage = (LIMITS[name] for name in ("spearman", "low_entropy_share", "coverage"))
    assert met(rho - 1e-9, -3.0, share, coverage + 1e-9) == (True, True, True)
    assert met(rho, -3.0, share - 1e-9, coverage) == (False, False, False)
