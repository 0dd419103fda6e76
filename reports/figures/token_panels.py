"""Single panels: each draws arrays on given axes, and nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy import ndimage, stats

from gatehouse.reports.figures import style

DENSITY_CELLS = 70
HISTOGRAM_BINS = 40
LEAST_FOR_INTERVAL = 2
LEAST_FOR_QUARTILES = 5
DASHED: Any = {"color": style.INK, "linestyle": (0, (4, 3)), "linewidth": 0.8}


def density_scatter(
    axes: Axes,
    x: NDArray,
    y: NDArray,
    *,
    logarithmic: bool,
    hue: str = "Blues",
    of: int | None = None,
) -> PathCollection:
    """Draw every token as a point, coloured by the tokens around it, crowded points on top.

    Args:
        axes: where to draw.
        x: (tokens,) horizontal positions.
        y: (tokens,) vertical positions.
        logarithmic: whether x is drawn on a logarithmic axis.
        hue: matplotlib's name of a colour map of one hue, light to dark.
        of: all tokens in the panel, if x and y are only some; more tokens make smaller points.
    """
    density = _density(np.log10(x) if logarithmic else x, y)
    order = np.argsort(density, kind="stable")
    return axes.scatter(
        x[order],
        y[order],
        c=density[order],
        norm=LogNorm(1, max(2, density.max(initial=1))),
        cmap=style.density_colours(hue),
        s=float(np.clip(160 / np.sqrt(max(of or x.size, 1)), 1.5, 9)),
        linewidths=0,
        # tens of thousands of points would make a PDF slow to show
        rasterized=True,
    )


def _density(x: NDArray, y: NDArray) -> NDArray:
    """Return (tokens,) tokens around each, per cell of a grid over the cloud, at least 1."""
    if x.size == 0:
        return np.empty(0)
    counts, *edges = np.histogram2d(x, y, bins=DENSITY_CELLS)
    # interpolated between the centres of cells, so that no cell edges show in the cloud
    places = [
        (values - edge[0]) / (edge[1] - edge[0]) - 0.5
        for values, edge in zip((x, y), edges, strict=True)
    ]
    return np.maximum(1, ndimage.map_coordinates(counts, places, order=1, mode="nearest"))


def entropy_axis(set_limits: Callable[..., object], entropy: NDArray, threshold: float) -> None:
    """Set limits from 0 (or rounding under it) to a little over the data and the threshold."""
    highest = max(entropy.max(), threshold, 1e-3)
    set_limits(min(0.0, entropy.min()) - 0.02 * highest, 1.06 * highest)


def threshold_line(draw: Callable[..., object], threshold: float) -> None:
    """Draw a dashed line with `axes.axhline` or `axes.axvline`, labelled in nats."""
    draw(threshold, **DASHED, label=f"threshold {threshold:g} nats")


def thresholds(axes: Axes, frequency_threshold: float, entropy_threshold: float) -> Rectangle:
    """Draw both thresholds on axes of frequency and entropy, shade the eligible region."""
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    left = min(max(frequency_threshold, axes.get_xlim()[0]), right)
    region = Rectangle(
        (left, bottom),
        right - left,
        entropy_threshold - bottom,
        facecolor=style.GREEN,
        alpha=0.14,
        linewidth=0,
        zorder=0.5,
    )
    axes.add_patch(region)
    if frequency_threshold > 0:
        axes.axvline(frequency_threshold, **DASHED)
    axes.axhline(entropy_threshold, **DASHED)
    return region


def trend(axes: Axes, frequency: NDArray, values: NDArray) -> None:
    """Draw the median and the quartiles of `values` per frequency bin of at least 5 tokens."""
    bins = [mask for mask in style.frequency_bins(frequency) if mask.sum() >= LEAST_FOR_QUARTILES]
    centres = [_geometric_mean(frequency[mask]) for mask in bins]
    for quantile, width, marker, label in (
        (0.5, 1.3, "o", "median per frequency bin"),
        (0.25, 0.8, "", "quartiles"),
        (0.75, 0.8, "", "_quartiles"),
    ):
        axes.plot(
            centres,
            [np.quantile(values[mask], quantile) for mask in bins],
            color=style.VERMILLION,
            linewidth=width,
            linestyle="-" if marker else (0, (5, 2)),
            marker=marker,
            markersize=2.6,
            label=label,
        )


def histogram(axes: Axes, values: NDArray, frequency: NDArray, limits: tuple[float, float]) -> None:
    """Draw the distribution of `values` over distinct tokens (bars) and occurrences (outline)."""
    tokens = np.full(values.size, 1 / values.size)
    axes.hist(
        values,
        bins=HISTOGRAM_BINS,
        range=limits,
        weights=tokens,
        color=style.SKY,
        edgecolor="white",
        linewidth=0.4,
        label="distinct tokens",
    )
    axes.hist(
        values,
        bins=HISTOGRAM_BINS,
        range=limits,
        weights=frequency / frequency.sum(),
        histtype="step",
        color=style.VERMILLION,
        linewidth=1.1,
        label="occurrences",
    )
    axes.set_ylabel("Share per bin")
    style.percent_axis(axes.yaxis)


def cumulative(axes: Axes, values: NDArray, frequency: NDArray) -> None:
    """Draw the cumulative distribution of `values` over distinct tokens and occurrences."""
    order = np.argsort(values)
    ordered = values[np.insert(order, 0, order[0])]
    tokens = np.arange(values.size + 1) / values.size
    occurrences = np.insert(np.cumsum(frequency[order]), 0, 0) / frequency.sum()
    axes.step(ordered, tokens, where="post", color=style.BLUE, label="distinct tokens")
    axes.step(ordered, occurrences, where="post", color=style.VERMILLION, label="occurrences")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("Cumulative share")
    style.percent_axis(axes.yaxis)


def bin_means(
    axes: Axes,
    frequency: NDArray,
    values: NDArray,
    label: str | None = None,
    colour: str = style.BLUE,
    marker: str = "o",
) -> None:
    """Draw the mean of `values` per frequency bin, its 95 % interval, and the bin's extent.

    Args:
        axes: where to draw.
        frequency: (tokens,) occurrences.
        values: (tokens,) one each; bins with nothing but nan are left out.
        label: for the legend.
        colour: of the series.
        marker: of the series.
    """
    frequency, values, bins = _defined_bins(frequency, values)
    centres = np.array([_geometric_mean(frequency[mask]) for mask in bins])
    lowest = np.array([frequency[mask].min() for mask in bins])
    highest = np.array([frequency[mask].max() for mask in bins])
    axes.errorbar(
        centres,
        [values[mask].mean() for mask in bins],
        # the mean of equal frequencies can be rounded to either side of them
        xerr=np.maximum(0, [centres - lowest, highest - centres]),
        yerr=[_interval(values[mask]) for mask in bins],
        fmt=marker,
        color=colour,
        elinewidth=0.9,
        capsize=1.8,
        markersize=3.6,
        label=label,
    )


def bin_line(axes: Axes, frequency: NDArray, values: NDArray, label: str) -> None:
    """Draw the mean of `values` per frequency bin as a dashed line, a reference for others."""
    frequency, values, bins = _defined_bins(frequency, values)
    axes.plot(
        [_geometric_mean(frequency[mask]) for mask in bins],
        [values[mask].mean() for mask in bins],
        color=style.INK,
        linestyle=(0, (4, 2)),
        linewidth=1.0,
        label=label,
    )


def _defined_bins(frequency: NDArray, values: NDArray) -> tuple[NDArray, NDArray, list[NDArray]]:
    defined = np.isfinite(values)
    bins = style.frequency_bins(frequency[defined]) if defined.any() else []
    return frequency[defined], values[defined], bins


def _geometric_mean(frequency: NDArray) -> float:
    return float(np.exp(np.log(frequency).mean()))


def _interval(values: NDArray) -> float:
    """Return half the 95 % t interval of the mean; 0 for a single value, which has none."""
    if values.size < LEAST_FOR_INTERVAL:
        return 0.0
    error = values.std(ddof=1) / np.sqrt(values.size)
    return float(stats.t.ppf(0.975, values.size - 1) * error)


def boxes(axes: Axes, frequency: NDArray, values: NDArray) -> None:
    """Draw a box per decade of frequency: median, quartiles, whiskers at 5 and 95 %."""
    bins = style.frequency_bins(frequency, (1,))
    axes.boxplot(
        [values[mask] for mask in bins],
        whis=(5, 95),
        showfliers=False,
        widths=0.55,
        patch_artist=True,
        boxprops={"facecolor": style.SKY, "edgecolor": style.BLUE, "linewidth": 0.8},
        medianprops={"color": style.INK, "linewidth": 1.3},
        whiskerprops={"color": style.BLUE},
        capprops={"color": style.BLUE},
        tick_labels=[f"{style.frequency_range(frequency[m])}\nn={m.sum():,}" for m in bins],
    )
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("Token frequency (occurrences)")
