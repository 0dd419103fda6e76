"""Figures of a run's experts in caches: what is found in one, and what can be loaded ahead.

Every function takes a run with all that was found of it.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.inference import cache_sentences, recalls
from gatehouse.reports.inference.cache_curve import (
    LEAST_DOCUMENTS,
    USABLE,
    CacheCurves,
    cache_curves,
    cliff,
)
from gatehouse.reports.verdict.findings import AssessedRun

CACHES, PREDICTIONS = "Experts in a cache", "Experts loaded ahead"
CHANCE: Any = {"color": style.INK, "linestyle": (0, (1, 1.5)), "linewidth": 1.0, "label": "chance"}
BOUND: Any = {"color": style.GREY, "linestyle": (0, (4, 2)), "linewidth": 1.2}

MANY = 24
"""Lines of more points have no markers."""


@style.styled
def expert_cache(assessed: AssessedRun) -> Figure:
    """Show how many experts are found in caches, by size: of each layer, and one for all."""
    marts = assessed.marts
    experts = cache_sentences.experts_of(marts.layers)
    curves = cache_curves(marts.cached_documents, experts.num_experts)
    if not curves:
        return _empty(CACHES, assessed, "No cache was simulated: there were no tokens.")
    note = (
        "Belady foresees the text: no cache that loads what it lacks, as LRU and LFU do, finds "
        f"more. Chance: a cache filled at random.{_band_note(curves)}"
    )
    size = layer_panels.grid_size(2 * len(curves), 2.5)
    figure = style.new_figure(size, CACHES, layer_panels.caption(assessed, note))
    panels = layer_panels.panel_grid(figure, 2 * len(curves), sharey=True)
    for row, each in enumerate(curves):
        own, shared = panels[2 * row : 2 * row + 2]
        text = f", {cache_sentences.PHASES[each.phase]}" if len(curves) > 1 else ""
        own.set_title(f"A cache for each layer{text}")
        _own_caches(own, each)
        shared.set_title(f"One for all layers{text}")
        of_phase = marts.shared_caches[marts.shared_caches["phase"] == each.phase]
        _shared_cache(shared, of_phase, experts.layers * experts.num_experts)
        own.set_ylabel("Hit rate")
        style.percent_axis(own.yaxis)
        own.set_ylim(0, 1.03)
    layer_panels.legend_above(figure, 4)
    return figure


def _band_note(curves: list[CacheCurves]) -> str:
    if any(each.documents < LEAST_DOCUMENTS for each in curves):
        return f" Fewer than {LEAST_DOCUMENTS} documents have no interval."
    return " Band: 95 % over documents, of the policy that gains most."


def _own_caches(axes: Axes, curves: CacheCurves) -> None:
    best = curves.best(curves.usable, curves.most_telling)
    if band := curves.band(best):
        colour = style.SERIES[USABLE.index(best)][0]
        axes.fill_between(curves.sizes, *band, color=colour, alpha=0.25, linewidth=0)
    for policy in curves.usable:
        _line(axes, curves.sizes, curves.rates(policy), policy)
    _line(axes, curves.sizes, curves.rates("belady"), "belady")
    axes.plot(curves.sizes, curves.chances, **CHANCE)
    _size_axis(axes, "Slots of each layer", int(curves.sizes.max()))


def _shared_cache(axes: Axes, shared: pd.DataFrame, all_experts: int) -> None:
    for policy in ("lru", "lfu", "belady"):
        rows = shared[shared["policy"] == policy]
        _line(axes, rows["slots"].to_numpy(), layer_panels.numbers(rows, "hit_rate"), policy)
    lru = shared[shared["policy"] == "lru"]
    axes.plot(lru["slots"], lru["chance_hit_rate"], **CHANCE)
    smallest = cliff(shared)
    if smallest is not None:
        label = "working set of LRU"
        axes.axvline(smallest, color=style.INK, linewidth=0.8, linestyle=(0, (5, 1)), label=label)
        is_left = smallest < all_experts / 2
        place: Any = {"transform": axes.get_xaxis_transform(), "ha": "left" if is_left else "right"}
        text = f" {smallest:,} slots " if is_left else f"{smallest:,} slots "
        axes.text(smallest, 0.02, text, va="bottom", fontsize=style.SMALL, **place)
    _size_axis(axes, "Slots of all layers", all_experts)


def _line(axes: Axes, places: NDArray, values: NDArray, policy: str) -> None:
    label = cache_sentences.NAMES[policy]
    if policy in USABLE:
        _series(axes, places, values, label, USABLE.index(policy))
    else:
        axes.plot(places, values, label=label, **BOUND)


def _series(axes: Axes, places: NDArray, values: NDArray, label: str, series: int) -> None:
    colour, marker = style.SERIES[series]
    look: Any = {"marker": marker, "markersize": 3.0} if len(places) <= MANY else {}
    axes.plot(places, values, label=label, color=colour, linewidth=1.1, **look)


def _size_axis(axes: Axes, label: str, largest: int) -> None:
    axes.set_xlabel(label)
    axes.set_xlim(0, largest * 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


@style.styled
def prefetch_recall(assessed: AssessedRun) -> Figure:
    """Show how many of a token's experts predictions name, by how many are loaded ahead."""
    found = recalls.recalls(assessed.marts.predictions)
    if not found:
        return _empty(PREDICTIONS, assessed, "Nothing was predicted: there were no tokens.")
    note = f"{_learned(found)}Chance: experts loaded at random."
    size = layer_panels.grid_size(len(found) + 1, 2.5)
    figure = style.new_figure(size, PREDICTIONS, layer_panels.caption(assessed, note))
    *panels, ahead = layer_panels.panel_grid(figure, len(found) + 1, sharey=True)
    for axes, each in zip(panels, found, strict=True):
        axes.set_title(
            cache_sentences.PHASES[each.phase].capitalize() if len(found) > 1 else "By predictor"
        )
        for name, values in each.by_predictor.items():
            series = list(recalls.NAMES).index(name)
            _series(axes, each.budgets, values, recalls.NAMES[name], series)
        _recall_axes(axes, each)
    _horizons(ahead, found[-1])
    panels[0].set_ylabel("Recall: share of the token's experts")
    style.percent_axis(panels[0].yaxis)
    panels[0].set_ylim(0, 1.03)
    layer_panels.legend_above(figure, 4)
    return figure


def _learned(found: list[recalls.Recalls]) -> str:
    predictors = [name for each in found for name in each.by_predictor]
    missing = recalls.untold(found[0].by_predictor)
    if "static_train" not in predictors:
        return f"{missing} "
    prompt = " and what a prompt uses most" if "static_prompt" in predictors else ""
    learned = (
        f"All but the token before{prompt} learn from the train split; scored on held-out text."
    )
    return f"{learned} {missing} " if missing else f"{learned} "


def _recall_axes(axes: Axes, found: recalls.Recalls) -> None:
    axes.plot(found.budgets, found.chance, **CHANCE)
    _size_axis(axes, "Experts of a layer loaded ahead", int(found.budgets.max()))


def _horizons(axes: Axes, found: recalls.Recalls) -> None:
    """Draw the prediction by an earlier token, darker the nearer it is."""
    axes.set_title("By a token further before")
    colours = style.density_colours()(np.linspace(1, 0.15, max(len(found.by_horizon), 1)))
    lines = [
        axes.plot(found.budgets, values, color=colour, linewidth=1.2)[0]
        for colour, values in zip(colours, found.by_horizon.values(), strict=False)
    ]
    names = [f"{tokens} token{'s' if tokens > 1 else ''}" for tokens in found.by_horizon]
    axes.legend(lines, names, loc="upper left")
    _recall_axes(axes, found)


def _empty(title: str, assessed: AssessedRun, reason: str) -> Figure:
    size = (style.SINGLE_PANEL[0], 2.0)
    figure = style.new_figure(size, title, layer_panels.caption(assessed))
    return layer_panels.nothing_to_draw(figure, reason)
