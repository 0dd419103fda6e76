"""How much text calibration needs: curves that only rise, and a sentence that adds up."""

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.inference.calibration import never_reached, reached


def frame(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["tokens", "samples", "experts"])


def test_curves_add_up_to_the_experts_that_are_reached():
    one, ten = reached(frame((1, 1, 5), (1, 4, 3), (10, np.nan, 6), (10, 7, 2)))
    assert (one.tokens, list(one.samples), list(one.experts)) == (1, [1, 4], [5, 8])
    assert one.never == 0
    assert (ten.tokens, list(ten.samples), list(ten.experts)) == (10, [7], [2])
    assert (ten.never, ten.all_experts) == (6, 8)
    assert list(one.shares) == [5 / 8, 1]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [(1, 1, 8), (1000, 3, 2), (1000, 1200, 6)],
            "After 1,200 samples at least 1,000 tokens have selected each of the 8 experts.",
        ),
        (
            [(1, 1, 1)],
            "After 1 sample at least 1 token has selected the 1 expert.",
        ),
        (
            [(1, 1, 7), (1, np.nan, 1)],
            "Of 8 experts the whole text leaves 1 without a token.",
        ),
        (
            [(1, 1, 8), (10, 1, 8), (100, np.nan, 2), (100, 5, 6), (1000, np.nan, 8)],
            "Of 8 experts the whole text leaves 2 with fewer than 100 tokens and 8 with fewer than "
            "1,000.",
        ),
        (
            [(1, np.nan, 1), (1, 1, 7), (10, np.nan, 3), (10, 2, 5), (100, np.nan, 8)],
            "Of 8 experts the whole text leaves 1 without a token, 3 with fewer than 10 tokens and "
            "8 with fewer than 100.",
        ),
    ],
)
def test_the_sentence_names_how_many_are_never_reached(rows, expected):
    assert never_reached(reached(frame(*rows))) == expected
