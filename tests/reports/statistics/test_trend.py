"""The test for a trend: its p is the share of all orders that are as extreme."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.reports.statistics.trend import LEAST_RUNS, trend


def concordance(values) -> int:
    return sum(np.sign(later - earlier) for earlier, later in itertools.combinations(values, 2))


@given(st.permutations(range(6)))
def test_p_is_the_share_of_orders_that_are_as_extreme(values):
    found = trend(values)
    every = [abs(concordance(order)) for order in itertools.permutations(range(6))]
    expected = np.mean(np.array(every) >= abs(concordance(values)))
    assert 10**found.log10_p == pytest.approx(expected)
    assert found.tau == pytest.approx(concordance(values) / 15)
    assert (found.first, found.last, found.least, found.most) == (values[0], values[-1], 0, 5)


def test_few_runs_and_constants_have_no_trend():
    assert trend([1.0]) is None and trend([np.nan, 2.0]) is None
    for values in (range(LEAST_RUNS - 1), [np.nan, *range(LEAST_RUNS - 1)], [3.0] * 9):
        found = trend(values)
        assert found.tau is None and found.log10_p is None
    assert trend([np.nan, *range(LEAST_RUNS)]).tau == pytest.approx(1)


def test_p_of_a_very_long_order_is_a_number():
    assert np.isfinite(trend(np.arange(3000)).log10_p)
