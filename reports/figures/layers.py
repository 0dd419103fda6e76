"""Figures of a whole run with the MoE layer, or the amount of text, along x.

Every function takes a run with all that was found of it.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.marts import published
from gatehouse.reports.marts.untold import ORDER
from gatehouse.reports.verdict.criteria import (
    LARGEST_RHO,
    LEAST_COVERAGE,
    LEAST_LOW_ENTROPY_SHARE,
    RHO,
)
from gatehouse.reports.verdict.findings import AssessedRun

MOST_LINES = len(style.SERIES)
"""More layers than this are drawn as thin lines with their median."""

CRITERIA = (
    ("spearman", f"Spearman {RHO} (< {LARGEST_RHO:g})", LARGEST_RHO),
    (
        "low_entropy_share",
        f"Low-entropy tokens (≥ {LEAST_LOW_ENTROPY_SHARE:.0%})",
        LEAST_LOW_ENTROPY_SHARE,
    ),
    ("coverage", f"Fast-path coverage (> {LEAST_COVERAGE:.0%})", LEAST_COVERAGE),
)
"""Column of the findings, title, what the hypothesis asks for."""

CRITERION = "criterion (in brackets)"
REPETITION = "How often the next token keeps the expert"


@style.styled
def layer_overview(assessed: AssessedRun) -> Figure:
    """Show the three criteria, entropy, consistency and balance of every MoE layer."""
    findings, thresholds = assessed.findings, assessed.findings.thresholds
    note = (
        f"Low entropy: under {thresholds.entropy:g} nats; eligible: also over "
        f"{thresholds.frequency:,} occurrences. Intervals: 95 %, bootstrap over documents."
    )
    caption = layer_panels.caption(assessed, note)
    figure = style.new_figure((style.WIDTH, 5.0), "Every MoE layer", caption)
    axes = layer_panels.panel_grid(figure, 6)
    indices = layer_panels.numbers(findings.layers, "moe_index")
    for place, letter, (column, title, demand) in zip(axes, "abc", CRITERIA, strict=False):
        place.set_title(f"{letter}  {title}")
        _criterion_panel(place, findings.layers, column, demand)
    axes[3].set_title("d  Mean entropy / ln(experts)")
    routed = layer_panels.numbers(assessed.marts.layers, "moe_index")
    entropy = layer_panels.numbers(assessed.marts.layers, "normalised_entropy")
    layer_panels.layer_line(axes[3], routed, entropy, "measured")
    axes[3].set_ylim(0, 1.03)
    axes[4].set_title("e  Routing consistency")
    _consistency_panel(axes[4], indices, findings.layers)
    axes[5].set_title("f  Busiest expert / fair share")
    load = layer_panels.numbers(assessed.marts.layers, "max_load_ratio")
    layer_panels.layer_line(axes[5], routed, load, "measured")
    axes[5].set_ylim(0.9, max(2.0, 1.08 * np.nanmax(load, initial=1.0)))
    style.criterion(axes[5], 1, "fair share")
    for place in axes:
        layer_panels.layer_axis(place, routed)
    layer_panels.legend_above(figure, 4)
    return figure


def _criterion_panel(axes: Axes, layers: pd.DataFrame, column: str, demand: float) -> None:
    indices = layer_panels.numbers(layers, "moe_index")
    if column == "spearman":
        low, high = (layer_panels.numbers(layers, name) for name in ("null_low", "null_high"))
        layer_panels.layer_band(axes, indices, low, high, "95 % of permutations")
        axes.set_ylim(-1, 1)
    else:
        style.percent_axis(axes.yaxis)
        axes.set_ylim(0, 1.03)
    ends = (layer_panels.numbers(layers, f"{column}_{end}") for end in ("low", "high"))
    layer_panels.layer_intervals(axes, indices, *ends)
    values = layer_panels.numbers(layers, column)
    layer_panels.layer_line(axes, indices, values, "measured")
    style.criterion(axes, demand, CRITERION)
    if undefined := int(np.isnan(values).sum()):
        place: Any = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        axes.text(0.98, 0.97, f"undefined in {undefined} of {values.size}", **place)


def _consistency_panel(axes: Axes, indices: NDArray, layers: pd.DataFrame) -> None:
    for series, (column, label) in enumerate(
        (("consistency", "measured"), ("held_out_consistency", "held-out documents"))
    ):
        layer_panels.layer_line(axes, indices, layer_panels.numbers(layers, column), label, series)
    random = layer_panels.numbers(layers, "random_consistency")
    look: Any = {"color": style.INK, "linestyle": (0, (4, 2)), "marker": "_"}
    layer_panels.layer_line(axes, indices, random, "random router", **look)
    axes.set_ylim(0, 1.03)


@style.styled
def expert_repetition(assessed: AssessedRun) -> Figure:
    """Show how often the next token keeps an expert, against chance, by layer."""
    frame = assessed.marts.repetition
    if frame.empty:
        figure = style.new_figure(style.SINGLE_PANEL, REPETITION, layer_panels.caption(assessed))
        return layer_panels.nothing_to_draw(
            figure, "No token follows another: there is no repetition."
        )
    kinds, note = _repetition_kinds(assessed)
    single = len(kinds) == 1
    reference = published.is_mixtral(assessed.run["model"]) and kinds != ["any_choice"]
    if reference:
        note = f"{note} {published.REPETITION_SOURCE}".strip()
    caption = layer_panels.caption(assessed, note)
    width = style.SINGLE_PANEL[0] if single else style.WIDTH
    figure = style.new_figure((width, 3.5), REPETITION, caption)
    panels = layer_panels.panel_grid(figure, len(kinds))
    indices = layer_panels.numbers(frame, "moe_index")
    for axes, kind, letter in zip(panels, kinds, "ab", strict=False):
        axes.set_title(f"{letter}  {kind.replace('_', ' ').capitalize()}")
        _repetition_panel(axes, frame, kind)
        if reference:
            _published_marks(axes, kind, indices)
        layer_panels.layer_axis(axes, indices)
        axes.set_ylim(bottom=0)
        low, high = axes.get_ylim()
        # room for the legend, which would cover the chance lines
        axes.set_ylim(low, high * (1.5 if reference else 1.35))
        style.percent_axis(axes.yaxis)
        if high > 1:
            axes.set_yticks(np.linspace(0, 1, 6))
        axes.legend(loc="upper left")
    panels[0].set_ylabel("Share of consecutive tokens")
    return figure


def _repetition_kinds(assessed: AssessedRun) -> tuple[list[str], str]:
    """Return the kinds of repetition that the run has, and a note on those that it has not."""
    if ORDER in assessed.untold:
        return ["any_choice"], "The trace does not order the experts: no first choice is known."
    second = layer_panels.numbers(assessed.marts.repetition, "first_or_second_repetition")
    if np.isnan(second).all():
        return ["first_choice"], "Top-1 router: no token has a second choice."
    return ["first_choice", "first_or_second"], ""


def _repetition_panel(axes: Axes, frame: pd.DataFrame, kind: str) -> None:
    indices = layer_panels.numbers(frame, "moe_index")
    layer_panels.layer_line(
        axes, indices, layer_panels.numbers(frame, f"{kind}_repetition"), "this run"
    )
    chance: Any = {"color": style.INK, "marker": "_", "linewidth": 1.0}
    fair = layer_panels.numbers(frame, f"{kind}_chance")
    dashed: Any = {"linestyle": (0, (4, 2))}
    layer_panels.layer_line(axes, indices, fair, "chance, equal loads", **chance, **dashed)
    if kind == "first_choice":
        loaded = layer_panels.numbers(frame, "first_choice_chance_by_load")
        orange: Any = {"color": style.ORANGE, "marker": "v", "linestyle": (0, (1, 1.5))}
        layer_panels.layer_line(axes, indices, loaded, "chance, this run's loads", **orange)


def _published_marks(axes: Axes, kind: str, indices: NDArray) -> None:
    """Draw the paper's values as hollow marks, eight corpora at each of its layers in the run."""
    marks = [
        (layer, share / 100)
        for corpus in published.MIXTRAL_REPETITION.values()
        for layer, share in zip(published.MIXTRAL_LAYERS, corpus[kind], strict=True)
        if layer in indices
    ]
    if marks:
        look: Any = {"s": 16, "facecolors": "none", "edgecolors": style.VERMILLION}
        label = f"Mixtral paper, Table 5: {len(published.MIXTRAL_REPETITION)} corpora"
        axes.scatter(*np.transpose(marks), linewidths=0.8, label=label, zorder=3, **look)


@style.styled
def sample_size(assessed: AssessedRun) -> Figure:
    """Show the three criteria on growing shares of the documents: would more text change them?"""
    frame = assessed.findings.sample_sizes
    note = "Each share of the documents is analysed as a separate run; its occurrences are below."
    caption = layer_panels.caption(assessed, note)
    figure = style.new_figure((style.WIDTH, 3.1), "Would more text change the verdict?", caption)
    occurrences = frame.groupby("share")["occurrences"].median()
    panels = layer_panels.panel_grid(figure, 3)
    for axes, letter, (column, title, demand) in zip(panels, "abc", CRITERIA, strict=True):
        axes.set_title(f"{letter}  {title}")
        _layer_lines(axes, frame, "share", column)
        style.criterion(axes, demand, CRITERION)
        axes.set_xscale("log", base=2)
        # every other size, including all of the documents
        named = occurrences.iloc[::-2]
        axes.set_xticks(named.index, [_size(share, named[share]) for share in named.index])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("Share of documents")
        _criterion_limits(axes, column)
    layer_panels.legend_above(figure, 7)
    return figure


@style.styled
def minimum_frequency(assessed: AssessedRun) -> Figure:
    """Show rho among tokens of at least so many occurrences: is it caused by the rare ones?"""
    frame = assessed.findings.minima
    note = "A token's mean entropy over few occurrences is noisy: rare tokens could tilt the ranks."
    caption = layer_panels.caption(assessed, note)
    title = "Correlation without the rare tokens"
    figure = style.new_figure(style.SINGLE_PANEL, title, caption)
    axes = figure.subplots()
    tokens = frame.groupby("minimum")["tokens"].median()
    places = {least: place for place, least in enumerate(tokens.index)}
    _layer_lines(axes, frame.assign(place=frame["minimum"].map(places)), "place", "spearman")
    style.criterion(axes, LARGEST_RHO, f"criterion: under {LARGEST_RHO:g}")
    ticks = [f"≥ {least:,}\n{style.short_count(tokens[least])}" for least in tokens.index]
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel("Occurrences of a token\n(tokens left)")
    axes.set_ylabel(f"Spearman {RHO}")
    _criterion_limits(axes, "spearman")
    style.boxed_legend(axes)
    return figure


def _layer_lines(axes: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """Draw a line per layer, or thin lines and their median if there are many layers."""
    groups = list(frame.groupby("moe_index"))
    few = len(groups) <= MOST_LINES
    for series, (index, group) in enumerate(groups):
        places, values = (layer_panels.numbers(group, name) for name in (x, y))
        if few:
            layer_panels.layer_line(axes, places, values, f"layer {index:.0f}", series)
        else:
            label = "each layer" if series == 0 else "_layer"
            axes.plot(places, values, color=style.SKY, linewidth=0.5, alpha=0.8, label=label)
    if not few:
        middle = frame.assign(**{y: layer_panels.numbers(frame, y)}).groupby(x)[y].median()
        look: Any = {"color": style.BLUE, "linewidth": 1.8, "marker": "o", "markersize": 3.6}
        axes.plot(middle.index, middle, label="median layer", **look)


def _criterion_limits(axes: Axes, column: str) -> None:
    if column == "spearman":
        axes.set_ylim(-1.03, max(0.2, axes.get_ylim()[1]))
        axes.axhline(0, color=style.GREY, linewidth=0.7, zorder=0.5)
    else:
        axes.set_ylim(0, 1.03)
        style.percent_axis(axes.yaxis)


def _size(share: float, occurrences: float) -> str:
    return f"{Fraction(share).limit_denominator(64)}\n{style.short_count(occurrences)}"
