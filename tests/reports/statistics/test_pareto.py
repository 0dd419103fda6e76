"""The front against its definition."""

import numpy as np
import pytest

from gatehouse.reports.statistics import pareto_front


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_point_beats_and_equal_points_are_kept_once(seed):
    random = np.random.default_rng(seed)
    points = random.integers(0, 8, (40, 2)) / 8
    points[random.random((40, 2)) < 0.05] = np.nan
    chosen = pareto_front(*points.T)
    for index, point in enumerate(points):
        beaten = ((points >= point).all(axis=1) & (points > point).any(axis=1)).any()
        repeated = (points[:index] == point).all(axis=1).any()
        assert chosen[index] == (not np.isnan(point).any() and not beaten and not repeated)


def test_without_a_point_there_is_no_front():
    assert pareto_front(np.array([]), np.array([])).tolist() == []
    assert pareto_front(np.array([np.nan]), np.array([1.0])).tolist() == [False]
