"""The four figures of the specification: a table and its validation in, a matplotlib figure out.

    figure = frequency_vs_entropy(frame, validation, "demo-pydoc-0123456789, MoE layer 0")

Nothing is read or saved here, and pyplot's state is never touched. Every function takes

- frame: per-token statistics of one MoE layer, usable rows only (entropy in nats),
- validation: `reports.hypothesis.validate` of the same frame,
- run: names the run and the layer, or the file, in the caption.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from reports import panels, statistics, style
from reports.criteria import LEAST_COVERAGE, RHO
from reports.hypothesis import Validation

ENTROPY_LABEL = "Mean router entropy (nats)"
CONSISTENCY_LABEL = "Routing consistency"


@style.styled
def frequency_vs_entropy(frame: pd.DataFrame, validation: Validation, run: str) -> Figure:
    """Scatter mean entropy over frequency, the fast-path region shaded, rho and p above."""
    frequency, entropy = _columns(frame, "frequency", "mean_entropy")
    caption = _caption(validation, run)
    figure = style.new_figure(style.SINGLE_PANEL, "Token frequency and router entropy", caption)
    axes = figure.subplots()
    points = panels.density_scatter(axes, frequency, entropy, logarithmic=True)
    panels.trend(axes, frequency, entropy)
    style.frequency_axis(axes, frequency)
    panels.entropy_axis(axes.set_ylim, entropy, validation.entropy_threshold)
    region = panels.thresholds(axes, validation.frequency_threshold, validation.entropy_threshold)
    region.set_label(_eligible_label(validation))
    axes.set_ylabel(ENTROPY_LABEL)
    axes.set_title(_correlation_title(validation), fontweight="normal")
    style.density_bar(figure, points, axes)
    axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none")
    return figure


@style.styled
def entropy_distribution(frame: pd.DataFrame, validation: Validation, run: str) -> Figure:
    """Show mean entropy as histogram, cumulative distribution, bin means and box plots."""
    frequency, entropy = _columns(frame, "frequency", "mean_entropy")
    threshold = validation.entropy_threshold
    caption = _caption(validation, run)
    figure = style.new_figure(style.FOUR_PANELS, "Router entropy of tokens", caption)
    density, share, means, boxes = style.four_axes(figure)
    density.set_title("a  Distribution of mean entropy")
    panels.entropy_axis(density.set_xlim, entropy, threshold)
    panels.histogram(density, entropy, frequency, (min(0.0, entropy.min()), entropy.max()))
    share.set_title("b  Cumulative distribution")
    panels.entropy_axis(share.set_xlim, entropy, threshold)
    panels.cumulative(share, entropy, frequency)
    for axes in (density, share):
        panels.threshold_line(axes.axvline, threshold)
        axes.set_xlabel(ENTROPY_LABEL)
        axes.legend(loc="best")
    means.set_title("c  Entropy by frequency bin (mean, 95 % interval)")
    panels.bin_means(means, frequency, entropy)
    style.frequency_axis(means, frequency)
    boxes.set_title("d  Entropy by frequency range (whiskers: 5 to 95 %)")
    panels.boxes(boxes, frequency, entropy)
    for axes in (means, boxes):
        panels.entropy_axis(axes.set_ylim, entropy, threshold)
        panels.threshold_line(axes.axhline, threshold)
        axes.set_ylabel(ENTROPY_LABEL)
    return figure


@style.styled
def routing_consistency(frame: pd.DataFrame, validation: Validation, run: str) -> Figure:
    """Show consistency over frequency, its distribution, over entropy, and by frequency bin."""
    names = ("frequency", "mean_entropy", "routing_consistency")
    frequency, entropy, consistency = _columns(frame, *names)
    caption = f"{_caption(validation, run)}. A token seen once has consistency 1."
    figure = style.new_figure(style.FOUR_PANELS, "Routing consistency of tokens", caption)
    over_frequency, distribution, over_entropy, means = style.four_axes(figure)
    over_frequency.set_title("a  Consistency and frequency")
    panels.density_scatter(over_frequency, frequency, consistency, logarithmic=True)
    panels.trend(over_frequency, frequency, consistency)
    over_frequency.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none")
    distribution.set_title("b  Distribution of consistency")
    panels.histogram(distribution, consistency, frequency, (0, max(1.0, consistency.max())))
    distribution.set_xlim(0, 1.02)
    distribution.set_xlabel(CONSISTENCY_LABEL)
    distribution.legend(loc="best")
    over_entropy.set_title("c  Consistency and mean entropy")
    panels.density_scatter(over_entropy, entropy, consistency, logarithmic=False)
    panels.entropy_axis(over_entropy.set_xlim, entropy, validation.entropy_threshold)
    over_entropy.set_xlabel(ENTROPY_LABEL)
    means.set_title("d  Consistency by frequency bin (mean, 95 % interval)")
    panels.bin_means(means, frequency, consistency)
    for axes in (over_frequency, means):
        style.frequency_axis(axes, frequency)
    for axes in (over_frequency, over_entropy, means):
        axes.set_ylim(0, 1.03)
        axes.set_ylabel(CONSISTENCY_LABEL)
    return figure


@style.styled
def fastpath_coverage(frame: pd.DataFrame, validation: Validation, run: str) -> Figure:
    """Show eligible tokens, what they cover, how thresholds matter, and cumulative coverage."""
    frequency, entropy = _columns(frame, "frequency", "mean_entropy")
    caption = _caption(validation, run)
    figure = style.new_figure(style.FOUR_PANELS, "Fast-path coverage", caption)
    scatter, bars, grid, curve = style.four_axes(figure)
    scatter.set_title("a  Eligible and other tokens")
    _eligible_scatter(scatter, frequency, entropy, validation)
    bars.set_title("b  Coverage")
    panels.share_bars(bars, *_coverage_bars(validation))
    grid.set_title("c  Coverage of occurrences by thresholds")
    panels.sensitivity(grid, statistics.coverage_grid(frequency, entropy))
    _mark_thresholds(grid, validation)
    curve.set_title("d  Cumulative coverage")
    _coverage_curve(curve, frequency, _is_eligible(frequency, entropy, validation))
    return figure


FIGURES: dict[str, Callable[[pd.DataFrame, Validation, str], Figure]] = {
    "frequency_vs_entropy": frequency_vs_entropy,
    "entropy_distribution": entropy_distribution,
    "routing_consistency": routing_consistency,
    "fastpath_coverage": fastpath_coverage,
}
"""File stem -> the function that draws it, in the specification's order."""


def _columns(frame: pd.DataFrame, *names: str) -> list[NDArray]:
    return [frame[name].to_numpy() for name in names]


def _caption(validation: Validation, run: str) -> str:
    return (
        f"{run}: n = {validation.tokens:,} distinct tokens, {validation.occurrences:,} occurrences"
    )


def _correlation_title(validation: Validation) -> str:
    correlation = validation.correlation
    if correlation.spearman is None:
        return f"Spearman {RHO} undefined: {correlation.undefined}"
    return (
        f"Spearman {RHO} = {correlation.spearman:.3f}, p = {correlation.p_text}, "
        f"n = {validation.tokens:,}"
    )


def _eligible_label(validation: Validation) -> str:
    fast_path = validation.fast_path
    return (
        f"fast-path eligible: {fast_path.eligible_tokens:,} tokens, "
        f"{fast_path.coverage:.1%} of occurrences"
    )


def _is_eligible(frequency: NDArray, entropy: NDArray, validation: Validation) -> NDArray:
    return statistics.eligible(
        frequency, entropy, validation.frequency_threshold, validation.entropy_threshold
    )


def _eligible_scatter(
    axes: Axes, frequency: NDArray, entropy: NDArray, validation: Validation
) -> None:
    chosen = _is_eligible(frequency, entropy, validation)
    for mask, colour, name in (
        (~chosen, style.LIGHT_GREY, "other"),
        (chosen, style.GREEN, "eligible"),
    ):
        axes.scatter(
            frequency[mask],
            entropy[mask],
            s=9,
            color=colour,
            linewidths=0,
            label=f"{name}: {mask.sum():,} tokens",
        )
    style.frequency_axis(axes, frequency)
    panels.entropy_axis(axes.set_ylim, entropy, validation.entropy_threshold)
    panels.thresholds(axes, validation.frequency_threshold, validation.entropy_threshold)
    axes.set_ylabel(ENTROPY_LABEL)
    axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", markerscale=2)


def _coverage_bars(validation: Validation) -> tuple[dict[str, float], list[str]]:
    shares = {
        "eligible tokens\n(of distinct)": validation.fast_path.eligible_share,
        "eligible tokens\n(of occurrences)": validation.fast_path.coverage,
    }
    ranks = {
        f"top {top:,} tokens\n(of occurrences)": share
        for top, share in validation.zipf.coverage.items()
    }
    colours = [style.GREEN] * len(shares) + [style.LIGHT_GREY] * len(ranks)
    return shares | ranks, colours


def _mark_thresholds(axes: Axes, validation: Validation) -> None:
    """Outline the grid's cell of the validation's own thresholds, where the grid has it."""
    rows, columns = statistics.FREQUENCY_THRESHOLDS, statistics.ENTROPY_THRESHOLDS
    row, column = validation.frequency_threshold, validation.entropy_threshold
    if row in rows and column in columns:
        corner = (columns.index(column) - 0.5, rows.index(row) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=style.VERMILLION, linewidth=2))


def _coverage_curve(axes: Axes, frequency: NDArray, chosen: NDArray) -> None:
    for mask, colour, name in (
        (np.ones_like(chosen), style.BLUE, "all tokens"),
        (chosen, style.GREEN, "eligible tokens"),
    ):
        ordered = np.sort(frequency[mask])[::-1]
        ranks = np.arange(1, ordered.size + 1)
        axes.plot(ranks, np.cumsum(ordered) / frequency.sum(), color=colour, label=name)
    axes.axhline(
        LEAST_COVERAGE,
        color=style.INK,
        linestyle=(0, (1, 2)),
        linewidth=1.1,
        label=f"criterion: over {LEAST_COVERAGE:.0%}",
    )
    style.frequency_axis(axes, np.arange(1, frequency.size + 1), "Tokens, most frequent first")
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("Share of occurrences")
    style.percent_axis(axes.yaxis)
    axes.legend(loc="best")
