"""Intervals of shares: laws, and that 0 and 1 are never certain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.reports.statistics.blocks import Blocks
from gatehouse.reports.statistics.intervals import Basis, rho_interval, share_interval
from gatehouse.reports.statistics.resampling import bootstrap

SHARES = st.floats(0, 1)


def constant(blocks: int, entropy: float, sizes: np.ndarray | float = 1.0) -> Blocks:
    """60 tokens of one entropy, in each block as often as its size says."""
    occurrences = np.ones((blocks, 60)) * np.reshape(sizes, (-1, 1))
    return Blocks(np.arange(60), occurrences, entropy * occurrences)


@pytest.mark.parametrize("measure", ["low_entropy_share", "coverage"])
def test_none_or_all_of_60_tokens_leave_open_as_much_as_60_independent_ones(measure):
    none = getattr(bootstrap([constant(200, 1.0)]).model, measure)
    every = getattr(bootstrap([constant(200, 0.1)]).model, measure)
    assert (none.estimate, none.low, none.standard_error) == (0, 0, 0)
    assert 0.05 < none.high < 0.065
    assert (every.estimate, every.high) == (1, 1)
    assert every.low == pytest.approx(1 - none.high)


def test_fewer_blocks_or_one_that_holds_most_of_the_text_leave_more_open():
    high = [
        bootstrap([constant(blocks, 1.0, sizes)]).model.low_entropy_share.high
        for blocks, sizes in ((200, 1.0), (32, 1.0), (8, 1.0), (32, np.r_[100, np.ones(31)]))
    ]
    assert high == sorted(high)
    assert high[2] > 0.3, "8 blocks do not rule out the share that the verdict demands"


def test_a_block_counts_by_its_part_of_the_variance():
    assert Basis.of_occurrences(np.ones((16, 3))).effective_blocks == pytest.approx(16)
    one = Basis.of_occurrences(np.r_[np.full((1, 3), 1e6), np.ones((15, 3))])
    assert one.effective_blocks == pytest.approx(1)


@given(
    values=st.lists(SHARES, min_size=3, max_size=8),
    tokens=st.integers(1, 500),
    blocks=st.integers(8, 64),
    effective=st.floats(0.01, 1),
    level=st.floats(0.5, 0.98),
)
def test_an_interval_holds_its_estimate_lies_in_0_to_1_and_grows_with_its_level(
    values, tokens, blocks, effective, level
):
    basis = Basis(blocks, max(1.0, effective * blocks), tokens)
    inner, outer = (share_interval(np.array(values), basis, each) for each in (level, 0.99))
    assert 0 <= outer.low <= inner.low <= inner.estimate <= inner.high <= outer.high <= 1
    assert inner.low < inner.high
    inner, outer = (rho_interval(np.array(values), basis, each) for each in (level, 0.99))
    assert -1 <= outer.low <= inner.low <= inner.high <= outer.high <= 1
