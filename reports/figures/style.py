"""The one place for the figures' look: colours, sizes, frequency axes and bins.

Colours are Okabe and Ito's, which readers with any colour vision can tell apart; those of heatmaps
are of `reports.colours`.
Figures are drawn as wide as they are printed, so the sizes of text are those on paper.
"""

import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from fontTools import subset
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from gatehouse.reports import colours

BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
VERMILLION = "#D55E00"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
GREY = "#6B7280"
LIGHT_GREY = "#C3C8D0"
INK = "#1F2430"

SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (INK, "P"))
"""A colour and a marker for each of a few lines: no two differ in colour alone."""

SMALL = 7.0
"""Points: the smallest text, except for numbers in cells and captions."""

CELL_TEXT = 6.5
RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelpad": 3,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.handletextpad": 0.5,
    "legend.borderaxespad": 0.4,
    "legend.labelspacing": 0.35,
    "figure.titlesize": 9.5,
    "figure.titleweight": "bold",
    "figure.facecolor": "white",
    # embed whole fonts in a PDF, as journals ask, not outlines of glyphs
    "pdf.fonttype": 42,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    # a token may hold a dollar sign: text is never mathematics
    "text.parse_math": False,
}

DEFAULTS = {
    # a Figure needs no backend, and a notebook keeps its own
    name: value
    for name, value in matplotlib.rcParamsDefault.items()
    if name not in ("backend", "backend_fallback")
}
"""What a matplotlibrc of the user's would change."""

SHAPING = ("GDEF", "GPOS", "GSUB")
"""A font's tables for choosing and placing glyphs: a PDF's text has its glyphs already, and to cut
these tables to them takes most of the time of saving it."""

PRINT_DPI = 300
"""For PNG files, and for what a PDF holds as pixels: clouds of points."""

WIDTH = 7.0
SINGLE_PANEL = (4.2, 3.7)
FOUR_PANELS = (WIDTH, 5.6)
"""Inches: a figure two columns wide, and one that stays legible in a column of 3.4 inches."""

MARGIN, TITLE_HEIGHT = 0.07, 0.23
"""Inches to the left of a figure's title and caption, and the height of a one-line title."""

CHARACTERS_PER_INCH = 18.5
"""In small text."""

PLAIN_NUMBERS = FuncFormatter(lambda value, _: f"{value:,.0f}")
MANTISSAS = (1, 2, 5)
NARROW = 30
"""An axis over a smaller ratio than this has ticks within its decades."""


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in this style alone, without warnings about glyphs that the font lacks."""
    with matplotlib.rc_context(DEFAULTS | RC), warnings.catch_warnings(), _fonts_without_shaping():
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        yield


@contextmanager
def _fonts_without_shaping() -> Iterator[None]:
    """Embed fonts in a PDF without SHAPING, which matplotlib has no setting for."""
    usual = subset.Options._drop_tables_default
    subset.Options._drop_tables_default = [*usual, *SHAPING]
    try:
        yield
    finally:
        subset.Options._drop_tables_default = usual


Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Let a function draw its figure in this style, whatever matplotlib's settings are."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with style():
            figure = draw(*args, **kwargs)
            _lay_out(figure)
            return figure

    return drawn


def _lay_out(figure: Figure) -> None:
    """Place everything once: otherwise a figure that is saved twice is laid out at each save."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        # without an engine (unlike with "none") saving draws once instead of twice
        figure.set_layout_engine(None)


def new_figure(size: tuple[float, float], title: str, caption: str) -> Figure:
    """Return an empty figure with its title above and its caption (run and sizes) below."""
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    title_above(figure, title)
    figure.supxlabel(
        wrapped(caption, size[0]), x=MARGIN / size[0], ha="left", fontsize=SMALL, color=GREY
    )
    return figure


def title_above(figure: Figure, text: str) -> None:
    """Write or change the title of a figure."""
    figure.suptitle(text, x=MARGIN / figure.get_figwidth(), ha="left")


def wrapped(text: str, inches: float) -> str:
    """Break small text into lines of that width."""
    width = int(inches * CHARACTERS_PER_INCH)
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))


def four_axes(figure: Figure) -> list[Axes]:
    """Return the axes of a two-by-two grid, row by row."""
    return list(figure.subplots(2, 2, gridspec_kw={"wspace": 0.05, "hspace": 0.06}).flat)


@cache
def density_colours(hue: str = "Blues") -> Colormap:
    """Return one hue, from few tokens (light) to many (dark)."""
    if hue == "Blues":
        whole, darkest = share_colours(), 1.0
    else:
        whole, darkest = matplotlib.colormaps[hue], 0.8
    return ListedColormap(whole(np.linspace(colours.LEAST_VISIBLE, darkest, 256)), "density")


@cache
def share_colours() -> Colormap:
    """Return one hue, from a share of none (light) to all (dark)."""
    return LinearSegmentedColormap.from_list("shares", colours.SHARES)


@cache
def chance_colours() -> Colormap:
    """Return blue under chance, white at it, vermillion over it; grey where there is no value."""
    return LinearSegmentedColormap.from_list("chance", colours.RATIOS).with_extremes(
        bad=colours.UNDEFINED
    )


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
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(LogLocator(10, MANTISSAS))
    bar.ax.yaxis.set_major_formatter(PLAIN_NUMBERS)
    bar.ax.yaxis.set_minor_locator(NullLocator())


def boxed_legend(axes: Axes, **options: Any) -> None:
    """Add a legend that stays legible over a cloud of points."""
    axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", **options)


def criterion(axes: Axes, value: float, label: str) -> None:
    """Draw what the hypothesis asks for as a dotted line."""
    axes.axhline(value, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.0, label=label)


def bare(axes: Axes) -> None:
    """Leave a heatmap without grid, frame and tick marks."""
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def cell_text(axes: Axes, column: float, row: float, text: str, colour: str) -> None:
    """Write a number into a cell of a heatmap."""
    axes.text(column, row, text, ha="center", va="center", fontsize=CELL_TEXT, color=colour)


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
    return "1" if upper == 1 else f"{short_count(upper // 10 + 1)}-{short_count(upper)}"


def _decades(number: int) -> int:
    """Return the smallest d with number <= 10**d, without the rounding of a logarithm."""
    return 0 if number <= 1 else len(str(number - 1))


def short_count(number: float) -> str:
    """Return a count that fits under a tick: `500`, `1k`, `1.25M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"
