"""The lookup tables of a whole run on held-out text: how often they answer, how often rightly."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.statistics import pareto_front
from gatehouse.reports.verdict.findings import AssessedRun

MEASURES = ["coverage", "set_agreement", "retained_gate_mass"]


@style.styled
def coverage_agreement(assessed: AssessedRun) -> Figure:
    """Show what lookup tables answer on held-out text against how often they are right."""
    title = "Fast path on held-out text: how often it answers, how often it agrees"
    tables, grid = (
        _measured(frame) for frame in (assessed.marts.agreement, assessed.marts.thresholds)
    )
    present = sorted({int(index) for frame in (tables, grid) for index in frame["moe_index"]})
    if not present:
        figure = style.new_figure(
            (style.SINGLE_PANEL[0], 2.0), title, layer_panels.caption(assessed)
        )
        return layer_panels.nothing_to_draw(
            figure, "No text was held out, so nothing can be scored."
        )
    shown = layer_panels.shown_layers(present)
    note = layer_panels.shown_note(shown, len(present)) + (
        "Agreement: the table's set of experts is the router's. Filled points: tables chosen by "
        "thresholds on frequency and entropy."
    )
    caption = layer_panels.caption(assessed, note)
    figure = style.new_figure(layer_panels.grid_size(len(shown), 2.3), title, caption)
    panels = layer_panels.panel_grid(figure, len(shown), sharex=True, sharey=True)
    mass = np.concatenate([frame["retained_gate_mass"].to_numpy() for frame in (tables, grid)])
    norm = Normalize(np.nanmin(mass), np.nanmax(mass) + 1e-6)
    for axes, layer in zip(panels, shown, strict=True):
        axes.set_title(f"layer {layer}")
        chosen, sized = (frame[frame["moe_index"] == layer] for frame in (grid, tables))
        _front(axes, pd.concat([chosen, sized]))
        points = _threshold_points(axes, chosen, norm)
        _table_line(axes, sized)
        for axis in (axes.xaxis, axes.yaxis):
            style.percent_axis(axis)
        axes.set_xlim(-0.03, 1.06)
        axes.set_xticks([0, 0.5, 1])
    panels[0].set_ylim(*_share_limits(pd.concat([tables, grid])["set_agreement"]))
    figure.supylabel("Agreement of the expert set", fontsize="medium", color=style.INK)
    for axes in layer_panels.lowest_panels(panels):
        axes.set_xlabel("Coverage of occurrences")
        axes.tick_params(labelbottom=True)
    bar = figure.colorbar(points, ax=panels, aspect=32, pad=0.015, label="Retained gate mass")
    bar.outline.set_visible(False)
    style.percent_axis(bar.ax.yaxis)
    panels[0].legend(loc="lower left")
    return figure


def _measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are scored, their measures as floats."""
    floats = frame.assign(**{name: layer_panels.numbers(frame, name) for name in MEASURES})
    return floats.dropna(subset=["coverage", "set_agreement"])


def _share_limits(shares: pd.Series) -> tuple[float, float]:
    room = max(0.05, 0.12 * (shares.max() - shares.min()))
    return max(-0.03, shares.min() - 2 * room), min(1.03, shares.max() + room)


def _threshold_points(axes: Axes, frame: pd.DataFrame, norm: Normalize) -> PathCollection:
    return axes.scatter(
        frame["coverage"],
        frame["set_agreement"],
        c=frame["retained_gate_mass"],
        norm=norm,
        cmap=style.density_colours(),
        s=11,
        edgecolors="white",
        linewidths=0.3,
        zorder=2,
        label="tables by thresholds",
    )


def _table_line(axes: Axes, frame: pd.DataFrame) -> None:
    """Draw the tables of the most frequent tokens, sizes written at those that differ."""
    frame = frame.sort_values("table_size")
    frame = frame[~frame["table_tokens"].duplicated()]
    x, y = frame["coverage"].to_numpy(), frame["set_agreement"].to_numpy()
    look: dict[str, Any] = {"color": style.VERMILLION, "markersize": 3.4, "linewidth": 0.9}
    axes.plot(x, y, marker="s", zorder=3, label="tables by size", **look)
    last = -np.inf
    for size, tokens, across, up in zip(
        frame["table_size"], frame["table_tokens"], x, y, strict=True
    ):
        if across - last < 0.12:
            continue
        last = across
        text = "all" if tokens < size else style.short_count(size)
        place: Any = {"xytext": (0, -4), "textcoords": "offset points", "ha": "center"}
        place["bbox"] = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.4}
        axes.annotate(
            text, (across, up), color=style.INK, fontsize=style.CELL_TEXT, va="top", **place
        )


def _front(axes: Axes, frame: pd.DataFrame) -> None:
    """Draw the settings that no other one beats in both, and what they leave under them."""
    frame = frame[pareto_front(*_both(frame))].sort_values("coverage")
    x, y = _both(frame)
    look: dict[str, Any] = {"color": style.INK, "linewidth": 0.8, "zorder": 1}
    axes.step(x, y, where="pre", linestyle=(0, (3, 1.5)), label="Pareto front", **look)


def _both(frame: pd.DataFrame) -> tuple[NDArray, NDArray]:
    return frame["coverage"].to_numpy(float), frame["set_agreement"].to_numpy(float)
