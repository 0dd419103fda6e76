"""The figure of a run's experts on GPUs: how evenly placements share the work."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.inference.placements import Measured, no_usual_placement, usual_placements
from gatehouse.reports.verdict.findings import AssessedRun

TITLE = "Experts placed on GPUs"


@style.styled
def expert_placement(assessed: AssessedRun) -> Figure:
    """Show how evenly GPUs share the work: EPLB, the order of numbers, random placements."""
    layers = assessed.marts.layers
    if reason := no_usual_placement(layers["num_experts"]):
        return _empty(assessed, reason)
    found = usual_placements(layers["num_experts"], assessed.marts.load_windows)
    loads = found.loads
    learned = "Train split" if loads.by_train else "All text"
    note = (
        f"{found.placement.gpus} GPUs; EPLB places by the {learned.lower()}. "
        "Of random placements the mean. 1: all GPUs have the same load, a token selecting an "
        "expert."
    )
    caption = layer_panels.caption(assessed, note)
    figure = style.new_figure(layer_panels.grid_size(3, 2.3), TITLE, caption)
    measured = {"EPLB": found.eplb, "contiguous": found.contiguous, "random": found.random}
    text, held_out, windows = layer_panels.panel_grid(figure, 3, sharey=True)
    indices = layers["moe_index"].to_numpy(int)
    _lines(text, learned, indices, {name: each.learned.layers for name, each in measured.items()})
    _lines(held_out, "Held-out text", indices, _held_out(measured))
    by_window = {name: each.windows for name, each in measured.items()}
    _lines(windows, "All layers, by window", np.arange(len(loads.windows)), by_window)
    windows.set_xlabel("Window of the text")
    text.set_ylabel("Mean load of a GPU / highest")
    text.set_ylim(0, 1.03)
    text.legend(loc="lower left")
    return figure


def _held_out(measured: dict[str, Measured]) -> dict[str, NDArray]:
    return {
        name: each.held_out.layers for name, each in measured.items() if each.held_out is not None
    }


def _lines(axes: Axes, title: str, indices: NDArray, values: dict[str, NDArray]) -> None:
    axes.set_title(title)
    if not values:
        axes.text(0.5, 0.5, "nothing is held out", ha="center", transform=axes.transAxes)
    for series, (name, of) in enumerate(values.items()):
        layer_panels.layer_line(axes, indices, of, name, series)
    layer_panels.layer_axis(axes, indices)


def _empty(assessed: AssessedRun, reason: str) -> Figure:
    size = (style.SINGLE_PANEL[0], 2.0)
    figure = style.new_figure(size, TITLE, layer_panels.caption(assessed))
    return layer_panels.nothing_to_draw(figure, reason)
