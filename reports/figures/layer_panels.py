"""What the figures of a whole run share: captions, the layers they show, heatmaps, layer axes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullLocator
from numpy.typing import NDArray

from gatehouse.reports.colours import ratio_limit
from gatehouse.reports.figures import style
from gatehouse.reports.marts.facts import run_title
from gatehouse.reports.marts.untold import EVENTS, TOKEN_IDS
from gatehouse.reports.verdict.findings import AssessedRun

MOST_PANELS = 6
MOST_NUMBERED_CELLS = 100
"""A heatmap with more cells has colours but no numbers."""

FEW_LAYERS = 16

TIMES = "\N{MULTIPLICATION SIGN}"

RunFigure = Callable[[AssessedRun], Figure]


def caption(assessed: AssessedRun, note: str = "") -> str:
    """Return the run, its model, its sizes (n), and what else a reader must know."""
    run = assessed.run
    layers = len(assessed.marts.layers)
    sizes = f"n = {_read(assessed)}, {layers} MoE layer{'s' if layers > 1 else ''}"
    return f"{run_title(run)} of {run['model']}: {sizes}. {note}".rstrip()


def _read(assessed: AssessedRun) -> str:
    """Return how much of a text the run is of, as far as its source tells it."""
    if EVENTS in assessed.untold:
        return f"{assessed.marts.expert_load['selections'].sum():,} selections"
    if TOKEN_IDS in assessed.untold:
        return f"{assessed.run['tokens']:,} tokens"
    frequency = assessed.marts.frequency_rank["frequency"]
    return f"{len(frequency):,} distinct tokens, {frequency.sum():,} occurrences"


def numbers(frame: pd.DataFrame, name: str) -> NDArray:
    """Return a column as floats, nan where it is undefined."""
    return pd.to_numeric(frame[name], errors="coerce").to_numpy(float, na_value=np.nan)


def shown_layers(indices: Sequence[int], most: int = MOST_PANELS) -> list[int]:
    """Return the first, the last, and evenly spaced ones between them."""
    ordered = sorted(set(indices))
    if len(ordered) <= most:
        return ordered
    places = np.linspace(0, len(ordered) - 1, most).round().astype(int)
    return [ordered[place] for place in places]


def shown_note(shown: Sequence[int], of: int, what: str = "layers") -> str:
    """Say that only some layers are shown, if that is so."""
    return f"Shown: {len(shown)} of {of} {what}. " if len(shown) < of else ""


def panel_grid(figure: Figure, count: int, **options: Any) -> list[Axes]:
    """Return `count` axes, at most three in a row (four in two), the last places empty."""
    columns = _columns(count)
    rows = -(-count // columns)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel()
    for unused in axes[count:]:
        unused.remove()
    return list(axes[:count])


def lowest_panels(panels: list[Axes]) -> list[Axes]:
    """Return those of a `panel_grid` with no panel under them."""
    return panels[-_columns(len(panels)) :]


def _columns(count: int) -> int:
    return 2 if count == 4 else min(count, 3)


def grid_size(count: int, row_height: float) -> tuple[float, float]:
    """Return the inches of a figure with `panel_grid`."""
    return (style.WIDTH, 0.95 + row_height * (1 if count <= 3 else 2))


def nothing_to_draw(figure: Figure, reason: str) -> Figure:
    """Say in an empty figure why it is empty."""
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, style.wrapped(reason, 2.5), ha="center", va="center", fontsize=9)
    return figure


def layer_axis(axes: Axes, indices: NDArray, label: str = "MoE layer") -> None:
    """Make x the index of the MoE layer, whole numbers only."""
    axes.set_xlim(indices.min() - 0.6, indices.max() + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel(label)


def layer_line(
    axes: Axes, indices: NDArray, values: NDArray, label: str, series: int = 0, **options: Any
) -> None:
    """Draw one value per layer in the colour and the marker of a series."""
    colour, marker = style.SERIES[series]
    size = 3.6 if indices.size <= FEW_LAYERS else 2.2
    look: Any = {"color": colour, "marker": marker, "markersize": size, "linewidth": 0.9}
    axes.plot(indices, values, label=label, **look | options)


def layer_intervals(axes: Axes, indices: NDArray, low: NDArray, high: NDArray) -> LineCollection:
    """Draw an interval per layer as a bar over its point, because the point may be larger."""
    defined = np.isfinite(low) & np.isfinite(high)
    return axes.vlines(
        indices[defined],
        low[defined],
        high[defined],
        color=style.INK,
        linewidth=1.0 if indices.size <= FEW_LAYERS else 0.7,
        zorder=3,
        label="95 % interval",
    )


def layer_band(axes: Axes, indices: NDArray, low: NDArray, high: NDArray, label: str) -> None:
    """Shade a range per layer, as wide as the layer."""
    edges = np.append(indices - 0.5, indices[-1] + 0.5)
    axes.stairs(high, edges, baseline=low, fill=True, color=style.LIGHT_GREY, label=label)


def ratio_norm(values: Sequence[NDArray]) -> LogNorm:
    """Return one scale for ratios to chance, as far under 1 as over it.

    Arrows on its key mark that ratios beyond the ends have the colours of the ends.
    """
    limit = ratio_limit(np.concatenate([each.ravel() for each in values]))
    return LogNorm(1 / limit, limit, clip=True)


def ratio_heatmap(
    axes: Axes, values: NDArray, norm: LogNorm, *, ticks: int = 8, numbered: bool = False
) -> AxesImage:
    """Draw ratios to chance, blue under 1 and vermillion over it, undefined cells grey.

    Args:
        axes: where to draw.
        values: (rows, columns), 1 = chance.
        norm: of `ratio_norm`.
        ticks: the most ticks along x.
        numbered: whether a small heatmap's cells hold their numbers.
    """
    image = axes.imshow(
        values, cmap=style.chance_colours(), norm=norm, aspect="auto", interpolation="nearest"
    )
    axes.xaxis.set_major_locator(_every(values.shape[1], ticks))
    axes.yaxis.set_major_locator(_every(values.shape[0], 8))
    style.bare(axes)
    if numbered and values.size <= MOST_NUMBERED_CELLS:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                strong = abs(np.log(max(value, 1e-9))) > 0.6 * np.log(norm.vmax or 1)
                colour = "white" if strong else style.INK
                style.cell_text(axes, column, row, f"{value:.2g}", colour)
    return image


def _every(size: int, ticks: int) -> MultipleLocator:
    """Return ticks at multiples of a power of two, as numbers of experts mostly are."""
    if size > 100:
        # three digits take the room of two
        ticks //= 2
    step = 1
    while size > ticks * step:
        step *= 2
    return MultipleLocator(step)


def ratio_key(figure: Figure, image: AxesImage, axes: Sequence[Axes], label: str) -> None:
    """Add the key of ratio heatmaps, ticks as multiples of chance."""
    bar = figure.colorbar(image, ax=axes, extend="both", aspect=32, pad=0.015, label=label)
    limit = float(np.max(image.norm.vmax or 1))
    over = [tick for tick in (1.25, 1.5, 2, 4, 8) if tick <= limit * 1.001]
    if limit > 2:
        over = [tick for tick in over if tick >= 2]
    bar.set_ticks([*(1 / tick for tick in reversed(over)), 1, *over])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}{TIMES}"))
    bar.outline.set_visible(False)


def legend_above(figure: Figure, columns: int) -> None:
    """Put one legend for all panels above them, where it cannot cover anything."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    # the title makes room: one line of it is a little higher than one of the legend
    rows = -(-len(entries) // columns)
    style.title_above(figure, figure.get_suptitle() + "\n" * rows)
    place = (0, 1 - style.TITLE_HEIGHT / figure.get_figheight())
    handles: list[Any] = list(entries.values())
    figure.legend(handles, list(entries), loc="upper left", bbox_to_anchor=place, ncols=columns)
