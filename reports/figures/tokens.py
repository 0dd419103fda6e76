"""The four figures of the specification: a table and its validation in, a matplotlib figure out.

    figure = frequency_vs_entropy(frame, validation, "demo-pydoc-0123456789, MoE layer 0")

Nothing is read or saved here, and pyplot's state is never touched. Every function takes

- frame: per-token statistics of one MoE layer, usable rows only (entropy in nats); if it has
  the columns `held_out_consistency` and `random_consistency`, they are drawn beside consistency,
- validation: `reports.verdict.validation.validate` of the same frame,
- run: names the run and the layer, or the file, in the caption,
- interval: the 95 % interval of rho, drawn by `frequency_vs_entropy` alone.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatehouse.reports import statistics
from gatehouse.reports.figures import fast_path_panels, style, token_panels
from gatehouse.reports.verdict.criteria import RHO
from gatehouse.reports.verdict.validation import Validation

Interval = tuple[float, float] | None

ENTROPY_LABEL = "Mean router entropy (nats)"
CONSISTENCY_LABEL = "Routing consistency"


@style.styled
def frequency_vs_entropy(
    frame: pd.DataFrame, validation: Validation, run: str, *, interval: Interval = None
) -> Figure:
    """Scatter mean entropy over frequency, the fast-path region shaded, rho and p above."""
    frequency, entropy = _columns(frame, "frequency", "mean_entropy")
    caption = _caption(validation, run)
    figure = style.new_figure(style.SINGLE_PANEL, "Token frequency and router entropy", caption)
    axes = figure.subplots()
    points = token_panels.density_scatter(axes, frequency, entropy, logarithmic=True)
    token_panels.trend(axes, frequency, entropy)
    style.frequency_axis(axes, frequency)
    token_panels.entropy_axis(axes.set_ylim, entropy, validation.thresholds.entropy)
    region = token_panels.thresholds(
        axes, validation.thresholds.frequency, validation.thresholds.entropy
    )
    region.set_label(_eligible_label(validation))
    axes.set_ylabel(ENTROPY_LABEL)
    title = style.wrapped(_correlation_title(validation, interval), 0.8 * style.SINGLE_PANEL[0])
    axes.set_title(title, fontsize=style.SMALL, fontweight="normal")
    style.density_bar(figure, points, axes)
    style.boxed_legend(axes)
    return figure


@style.styled
def entropy_distribution(
    frame: pd.DataFrame, validation: Validation, run: str, *, interval: Interval = None
) -> Figure:
    """Show mean entropy as histogram, cumulative distribution, bin means and box plots."""
    frequency, entropy = _columns(frame, "frequency", "mean_entropy")
    threshold = validation.thresholds.entropy
    caption = _caption(validation, run)
    figure = style.new_figure(style.FOUR_PANELS, "Router entropy of tokens", caption)
    density, share, means, boxes = style.four_axes(figure)
    density.set_title("a  Distribution of mean entropy")
    token_panels.entropy_axis(density.set_xlim, entropy, threshold)
    token_panels.histogram(density, entropy, frequency, (min(0.0, entropy.min()), entropy.max()))
    share.set_title("b  Cumulative distribution")
    token_panels.entropy_axis(share.set_xlim, entropy, threshold)
    token_panels.cumulative(share, entropy, frequency)
    for axes in (density, share):
        token_panels.threshold_line(axes.axvline, threshold)
        axes.set_xlabel(ENTROPY_LABEL)
        axes.legend(loc="best")
    means.set_title("c  By frequency bin (mean, 95 % interval)")
    token_panels.bin_means(means, frequency, entropy)
    style.frequency_axis(means, frequency)
    boxes.set_title("d  By frequency range (whiskers: 5 to 95 %)")
    token_panels.boxes(boxes, frequency, entropy)
    for axes in (means, boxes):
        token_panels.entropy_axis(axes.set_ylim, entropy, threshold)
        token_panels.threshold_line(axes.axhline, threshold)
        axes.set_ylabel(ENTROPY_LABEL)
    return figure


@style.styled
def routing_consistency(
    frame: pd.DataFrame, validation: Validation, run: str, *, interval: Interval = None
) -> Figure:
    """Show consistency over frequency, its distribution, over entropy, and by frequency bin."""
    names = ("frequency", "mean_entropy", "routing_consistency")
    frequency, entropy, consistency = _columns(frame, *names)
    caption = f"{_caption(validation, run)}. A token seen once has consistency 1."
    figure = style.new_figure(style.FOUR_PANELS, "Routing consistency of tokens", caption)
    over_frequency, distribution, over_entropy, means = style.four_axes(figure)
    over_frequency.set_title("a  Consistency and frequency")
    token_panels.density_scatter(over_frequency, frequency, consistency, logarithmic=True)
    token_panels.trend(over_frequency, frequency, consistency)
    style.boxed_legend(over_frequency)
    distribution.set_title("b  Distribution of consistency")
    token_panels.histogram(distribution, consistency, frequency, (0, max(1.0, consistency.max())))
    distribution.set_xlim(0, 1.02)
    distribution.set_xlabel(CONSISTENCY_LABEL)
    distribution.legend(loc="best")
    over_entropy.set_title("c  Consistency and mean entropy")
    token_panels.density_scatter(over_entropy, entropy, consistency, logarithmic=False)
    token_panels.entropy_axis(over_entropy.set_xlim, entropy, validation.thresholds.entropy)
    over_entropy.set_xlabel(ENTROPY_LABEL)
    means.set_title("d  By frequency bin (mean, 95 % interval)")
    _consistency_means(means, frame)
    for axes in (over_frequency, means):
        style.frequency_axis(axes, frequency)
    for axes in (over_frequency, over_entropy, means):
        axes.set_ylim(0, 1.03)
        axes.set_ylabel(CONSISTENCY_LABEL)
    return figure


@style.styled
def fastpath_coverage(
    frame: pd.DataFrame, validation: Validation, run: str, *, interval: Interval = None
) -> Figure:
    """Show eligible tokens, what they cover, how thresholds matter, and cumulative coverage."""
    frequency, entropy = _columns(frame, "frequency", "mean_entropy")
    caption = _caption(validation, run)
    figure = style.new_figure(style.FOUR_PANELS, "Fast-path coverage", caption)
    scatter, bars, grid, curve = style.four_axes(figure)
    scatter.set_title("a  Eligible and other tokens")
    fast_path_panels.eligible_scatter(scatter, frequency, entropy, validation)
    scatter.set_ylabel(ENTROPY_LABEL)
    bars.set_title("b  Coverage")
    fast_path_panels.share_bars(bars, *fast_path_panels.coverage_bars(validation))
    thresholds = statistics.entropy_thresholds(float(entropy.max()))
    coverage = statistics.coverage_grid(frequency, entropy, thresholds) * validation.tested_share
    grid.set_title("c  Coverage of occurrences by thresholds")
    fast_path_panels.sensitivity(grid, coverage, thresholds)
    fast_path_panels.mark_thresholds(grid, validation, thresholds)
    curve.set_title("d  Cumulative coverage")
    chosen = fast_path_panels.is_eligible(frequency, entropy, validation)
    fast_path_panels.coverage_curve(curve, frequency, chosen, validation.all_occurrences)
    return figure


def _columns(frame: pd.DataFrame, *names: str) -> list[NDArray]:
    return [frame[name].to_numpy() for name in names]


def _caption(validation: Validation, run: str) -> str:
    return (
        f"{run}: n = {validation.tokens:,} distinct tokens, {validation.occurrences:,} occurrences"
    )


def _correlation_title(validation: Validation, interval: Interval) -> str:
    correlation = validation.correlation
    if correlation.spearman is None:
        return f"Spearman {RHO} undefined: {correlation.undefined}"
    between = f", 95 % interval {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
    return (
        f"Spearman {RHO} = {correlation.spearman:.3f}{between}, "
        f"n = {validation.tokens:,}; p = {correlation.p_text}"
    )


def _eligible_label(validation: Validation) -> str:
    fast_path = validation.fast_path
    return (
        f"fast-path eligible: {fast_path.eligible_tokens:,} tokens,\n"
        f"{fast_path.coverage:.1%} of occurrences"
    )


def _consistency_means(axes: Axes, frame: pd.DataFrame) -> None:
    """Draw consistency per frequency bin beside the fairer measures that the frame has."""
    frequency, consistency = _columns(frame, "frequency", "routing_consistency")
    token_panels.bin_means(axes, frequency, consistency, label="of a token's own occurrences")
    if "held_out_consistency" in frame:
        held_out = frame["held_out_consistency"].to_numpy(float, na_value=float("nan"))
        token_panels.bin_means(
            axes, frequency, held_out, "on held-out documents", style.ORANGE, "D"
        )
    if "random_consistency" in frame:
        random = frame["random_consistency"].to_numpy(float, na_value=float("nan"))
        token_panels.bin_line(axes, frequency, random, "a random router's")
    if len(axes.get_legend_handles_labels()[0]) > 1:
        style.boxed_legend(axes)
