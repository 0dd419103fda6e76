"""The figure of what policies that overrule the routers cost the model."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.inference.cache_curve import LEAST_DOCUMENTS
from gatehouse.reports.inference.replay_costs import ReplayCost, replay_costs
from gatehouse.reports.inference.replay_curves import TARGET_NATS, Curve, Panel, panels
from gatehouse.reports.inference.replay_sentences import TABLE, verdict
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.warehouse.plain_text import counted

TITLE = "What other routing costs the model"
DELTA = "\N{GREEK CAPITAL LETTER DELTA}"
WIDTHS = {"tables": 1.5, "dropped": 1.0, "masked": 1.0, "layers": 1.5}
IN_A_ROW = 3
HEIGHT = 3.3
ENTRY_HEIGHT, ENTRY_TEXT = 0.15, 6.5
"""Inches: the panels, and an entry of their legends; points of its text."""

CONTROL: Any = {"color": style.GREY, "markerfacecolor": "white", "linestyle": "--"}


@style.styled
def replay_cost(assessed: AssessedRun) -> Figure:
    """Show the loss that policies add, by what they cover, how many experts run, or are left."""
    marts = assessed.marts
    costs = replay_costs(marts.replays, marts.replay_documents)
    drawn = panels(costs)
    if not drawn:
        size = (style.SINGLE_PANEL[0], 2.0)
        figure = style.new_figure(size, TITLE, layer_panels.caption(assessed))
        return layer_panels.nothing_to_draw(figure, "Only controls were replayed.")
    width = style.WIDTH if len(drawn) > 1 else style.SINGLE_PANEL[0]
    caption = layer_panels.caption(assessed, _note(costs))
    rows = [drawn] if len(drawn) <= IN_A_ROW else [drawn[:2], drawn[2:]]
    figure = style.new_figure((width, 1.0 + HEIGHT * len(rows)), TITLE, caption)
    grid = figure.add_gridspec(len(rows), 1)
    for row, of_row in enumerate(rows):
        widths = [WIDTHS[each.stem] for each in of_row]
        places = grid[row].subgridspec(1, len(of_row), width_ratios=widths)
        for column, panel in enumerate(of_row):
            axes = figure.add_subplot(places[column])
            _draw(axes, panel)
            if column == 0:
                axes.set_ylabel(f"{DELTA}NLL, nats a token")
    return figure


def _note(costs: list[ReplayCost]) -> str:
    first = costs[0]
    sure = (
        f"Fewer than {LEAST_DOCUMENTS} documents have no interval."
        if first.delta_nll.low is None
        else "Bars: 95 % over documents."
    )
    text = f"{counted(first.documents, 'held-out document')}, {first.tokens:,} tokens"
    found = f" {verdict(costs)}" if TABLE.asked(costs) else ""
    return f"Replayed: {text}. {sure} Grey: controls.{found}"


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    style.criterion(axes, TARGET_NATS, "perplexity + 1 %")
    axes.axhline(0, color=style.GREY, linewidth=0.7)
    chosen = [curve for curve in panel.curves if not curve.is_control]
    for series, curve in enumerate(chosen):
        colour, marker = style.SERIES[series % len(style.SERIES)]
        _curve(axes, panel, curve, {"color": colour, "marker": marker})
    for series, curve in enumerate(each for each in panel.curves if each.is_control):
        marker = style.SERIES[series % len(style.SERIES)][1]
        within = [cost for cost in curve.costs if cost not in panel.beyond]
        if within:
            _curve(axes, panel, Curve(curve.name, True, within), CONTROL | {"marker": marker})
    axes.set_xlabel(panel.axis)
    _place_axis(axes, panel)
    far = [each for each in panel.curves if any(cost in panel.beyond for cost in each.costs)]
    entries = len(axes.get_legend_handles_labels()[0]) + len(far)
    # a legend of more entries than the panel has room for lies over the curves
    room = panel.most / max(0.95 - ENTRY_HEIGHT * entries / HEIGHT, 0.25)
    axes.set_ylim(min(1.1 * panel.least, -0.04 * panel.most), room)
    _beyond(axes, panel, far, room)
    axes.legend(loc="upper left", fontsize=ENTRY_TEXT)


def _curve(axes: Axes, panel: Panel, curve: Curve, look: dict[str, Any]) -> None:
    """Draw points with their intervals, joined."""
    places = np.array([panel.place(cost) for cost in curve.costs])
    found = [cost.delta_nll for cost in curve.costs]
    values = np.array([each.value for each in found])
    axes.plot(places, values, label=curve.name, markersize=3.6, linewidth=1.0, **look)
    if found[0].low is not None:
        low, high = (np.array([getattr(each, end) for each in found]) for end in ("low", "high"))
        axes.vlines(places, low, high, color=look["color"], linewidth=1.3, alpha=0.7)


def _place_axis(axes: Axes, panel: Panel) -> None:
    if panel.stem == "tables":
        axes.set_xlim(-0.02, 1.04)
        style.percent_axis(axes.xaxis)
        return
    places = [panel.place(cost) for curve in panel.curves for cost in curve.costs]
    room = max(0.08 * (max(places) - min(places)), 0.05)
    axes.set_xlim(min(places) - room, max(places) + room)
    if panel.stem in ("masked", "layers"):
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _beyond(axes: Axes, panel: Panel, curves: list[Curve], top: float) -> None:
    """Mark controls that cost more than is shown at the end of the axis, the cost in the legend."""
    for curve in curves:
        far = [cost for cost in curve.costs if cost in panel.beyond]
        values = sorted(cost.delta_nll.value for cost in far)
        ends = dict.fromkeys(f"{value:+.2f}" for value in (values[0], values[-1]))
        label = f"{curve.name}: off the scale, {' to '.join(ends)}"
        look: Any = {"marker": "^", "markersize": 5, "linestyle": "none", "clip_on": False}
        places = [panel.place(cost) for cost in far]
        axes.plot(places, [top] * len(far), label=label, color=style.GREY, **look)
