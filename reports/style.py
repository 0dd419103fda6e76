"""The one place for the figures' look: colours, sizes, frequency axes and bins.

Colours are Okabe and Ito's, which readers with any colour vision can tell apart; density is one
hue from light to dark.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
VERMILLION = "#D55E00"
GREY = "#6B7280"
LIGHT_GREY = "#C3C8D0"
INK = "#1F2430"

RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "figure.facecolor": "white",
    # a token may hold a dollar sign: text is never mathematics
    "text.parse_math": False,
}

SINGLE_PANEL = (8.0, 5.8)
FOUR_PANELS = (11.0, 8.4)
"""Inches."""

PLAIN_NUMBERS = FuncFormatter(lambda value, _: f"{value:,.0f}")
MANTISSAS = (1, 2, 5)
NARROW = 30
"""An axis over a smaller ratio than this has ticks within its decades."""

THOUSAND = 1000


Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Let a function draw its figure in this style, whatever matplotlib's settings are."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return drawn


def new_figure(size: tuple[float, float], title: str, caption: str) -> Figure:
    """Return an empty figure with its title above and its caption (run and sizes) below."""
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.09))
    figure.suptitle(title, x=0.012, ha="left")
    figure.supxlabel(caption, x=0.012, ha="left", fontsize=8.5, color=GREY)
    return figure


def four_axes(figure: Figure) -> list[Axes]:
    """Return the axes of a two-by-two grid, row by row."""
    return list(figure.subplots(2, 2, gridspec_kw={"wspace": 0.06, "hspace": 0.08}).flat)


@cache
def density_colours() -> Colormap:
    """Return one blue hue, from few tokens (light) to many (dark)."""
    return ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0.38, 1.0, 256)), "density")


def frequency_axis(
    axes: Axes, frequency: NDArray, label: str = "Token frequency (occurrences)"
) -> None:
    """Make x a logarithmic axis a little wider than `frequency`, ticks as plain numbers."""
    axes.set_xscale("log")
    axes.set_xlim(frequency.min() * 0.75, frequency.max() * 1.35)
    narrow = frequency.max() < NARROW * frequency.min()
    axes.xaxis.set_major_locator(LogLocator(10, MANTISSAS if narrow else (1,), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
    axes.set_xlabel(label)


def density_bar(figure: Figure, points: PathCollection, axes: Axes) -> None:
    """Add the key of a density scatter's colours, ticks as plain numbers."""
    bar = figure.colorbar(points, ax=axes, pad=0.015, aspect=32, label="Tokens nearby")
    bar.ax.yaxis.set_major_locator(LogLocator(10, MANTISSAS))
    bar.ax.yaxis.set_major_formatter(PLAIN_NUMBERS)
    bar.ax.yaxis.set_minor_locator(NullLocator())


def percent_axis(axis: Axis) -> None:
    """Format shares in [0, 1] as percent."""
    axis.set_major_formatter(PercentFormatter(1))


def frequency_bins(frequency: NDArray, mantissas: tuple[int, ...] = MANTISSAS) -> list[NDArray]:
    """Return the masks of the non-empty bins (0, 1], (1, 2], (2, 5], (5, 10] … of occurrences.

    Args:
        frequency: (tokens,) occurrences, at least 1.
        mantissas: upper edges within each decade; (1,) gives whole decades.
    """
    decades = range(_decades(int(frequency.max())) + 1)
    upper = [mantissa * 10**decade for decade in decades for mantissa in mantissas]
    masks, lower = [], 0
    for edge in upper:
        mask = (frequency > lower) & (frequency <= edge)
        if mask.any():
            masks.append(mask)
        lower = edge
    return masks


def frequency_range(frequency: NDArray) -> str:
    """Return the decade of a bin's frequencies as text, `11-100` or `1k-10k`."""
    upper = 10 ** _decades(int(frequency.max()))
    return "1" if upper == 1 else f"{_short(upper // 10 + 1)}-{_short(upper)}"


def _decades(number: int) -> int:
    """Return the smallest d with number <= 10**d, without the rounding of a logarithm."""
    return 0 if number <= 1 else len(str(number - 1))


def _short(number: int) -> str:
    return f"{number // THOUSAND:,}k" if number >= THOUSAND else str(number)
