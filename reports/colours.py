"""The colours of heat maps and the ends of their scales: one source for figures and pages.

Shares run over ColorBrewer's Blues. Ratios to what is even run from blue (under) over a neutral
colour (1, even) to vermillion (over), on a logarithmic scale: twice and half are equally far from
1. On a dark ground the same colours are turned round, so that what stands out is bright.
"""

import numpy as np
from numpy.typing import NDArray

SHARES = (
    "#f7fbff",
    "#deebf7",
    "#c6dbef",
    "#9ecae1",
    "#6baed6",
    "#4292c6",
    "#2171b5",
    "#08519c",
    "#08306b",
)
"""Evenly spaced, from none to all."""

UNDER = ("#003a5c", "#0072b2", "#8cc3e3")
OVER = ("#f3b183", "#d55e00", "#6b2f00")
EVEN, EVEN_ON_DARK = "#fafafa", "#2b323d"
RATIOS = (*UNDER, EVEN, *OVER)
"""Evenly spaced in the logarithm, from 1 / limit to the limit."""

UNDEFINED, UNDEFINED_ON_DARK = "#c3c8d0", "#5b6473"
"""Cells without a value."""

SHARES_ON_DARK = SHARES[::-1]
RATIOS_ON_DARK = (*UNDER[::-1], EVEN_ON_DARK, *OVER[::-1])

LEAST_VISIBLE = 0.38
"""Of the way along SHARES, where the colour of few but some begins."""

SMALLEST_LIMIT, LARGEST_LIMIT = 1.5, 8.0
"""A scale ends at least there, so that noise looks pale, and at most there."""


def ratio_limit(ratios: NDArray) -> float:
    """Return where a scale of ratios to what is even ends: there, and at 1 over it.

    Args:
        ratios: all that are drawn on it, of any shape; those of 0 are beyond any end, and what is
            not finite has no colour.
    """
    positive = ratios[np.isfinite(ratios) & (ratios > 0)]
    farthest = np.exp(np.abs(np.log(positive)).max(initial=0))
    return float(np.clip(farthest, SMALLEST_LIMIT, LARGEST_LIMIT))
