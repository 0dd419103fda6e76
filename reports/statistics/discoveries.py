"""Which of many z scores are more than chance gives, with the false discovery rate controlled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

FALSE_DISCOVERY_RATE = 0.05
"""Of what is called a discovery, the expected share that chance made."""


@dataclass(frozen=True)
class Discoveries:
    """Tests judged together, all in the order of their z scores; nan where there is no z.

    p_values: two-sided.
    q_values: the least false discovery rate at which the test is a discovery.
    found: whether it is one at `FALSE_DISCOVERY_RATE`.
    tests: how many have a z.
    """

    p_values: NDArray[np.float64]
    q_values: NDArray[np.float64]
    found: NDArray[np.bool_]
    tests: int

    @property
    def discoveries(self) -> int:
        """How many of the tests are discoveries."""
        return int(self.found.sum())


def discoveries(z_scores: ArrayLike) -> Discoveries:
    """Judge z scores, each standard normal by chance, as one family.

    The tests are two-sided: more and less than chance gives are both of interest, and which of
    them it is was not known before.

    Args:
        z_scores: (tests,) nan where one is not defined, which is no test.

    Source: Benjamini & Hochberg (1995), Controlling the False Discovery Rate.
    """
    scores = np.abs(np.asarray(z_scores, dtype=np.float64))
    is_test = np.isfinite(scores)
    p_values = np.full(scores.shape, np.nan)
    p_values[is_test] = special.erfc(scores[is_test] / np.sqrt(2))
    q_values = np.full(scores.shape, np.nan)
    if is_test.any():
        q_values[is_test] = stats.false_discovery_control(p_values[is_test])
    found = np.zeros(scores.shape, dtype=np.bool_)
    found[is_test] = q_values[is_test] <= FALSE_DISCOVERY_RATE
    return Discoveries(p_values, q_values, found, int(is_test.sum()))
