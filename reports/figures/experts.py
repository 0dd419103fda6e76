"""Figures of a whole run that are heatmaps of experts: ratios to chance, 1 = chance.

Every function takes a run with all that was found of it.
Marts hold no row for what never happened: such a cell is 0, unless its expert was never selected.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatehouse.reports.figures import layer_panels, style
from gatehouse.reports.marts import Marts
from gatehouse.reports.verdict.findings import AssessedRun

MOST_DOMAINS = 12
LONGEST_DOMAIN = 18
"""Characters of a domain's name."""

WIDE = 32
"""Heatmaps of more experts than this take the figure's whole width."""


@style.styled
def expert_load(assessed: AssessedRun) -> Figure:
    """Show how often every expert of every layer is selected, against its fair share."""
    indices = [int(index) for index in assessed.marts.layers["moe_index"]]
    matrix = np.full((max(indices) + 1, max(_experts(assessed.marts).values())), np.nan)
    load = assessed.marts.expert_load
    matrix[load["moe_index"].to_numpy(int), load["expert"].to_numpy(int)] = layer_panels.numbers(
        load, "load_ratio"
    )
    dead = load[load["is_dead"].astype(bool)]
    crosses = f" ({layer_panels.TIMES})" if len(dead) else ""
    note = f"Dead experts, never selected: {len(dead):,}{crosses}."
    height = 1.6 + float(np.clip(0.16 * len(indices), 0.5, 4.6))
    caption = layer_panels.caption(assessed, note)
    figure = style.new_figure((style.WIDTH, height), "Load of the experts", caption)
    axes = figure.subplots()
    norm = layer_panels.ratio_norm([matrix])
    image = layer_panels.ratio_heatmap(axes, matrix, norm, ticks=16, numbered=True)
    # with 256 experts a cell is smaller than any mark: a cross on a white one still stands out
    size = float(np.clip(2000 / matrix.shape[1], 12, 40))
    for colour, width in (("white", 2.2), (style.INK, 1.0)):
        look: Any = {"s": size, "marker": "x", "color": colour, "linewidths": width}
        axes.scatter(dead["expert"], dead["moe_index"], **look)
    axes.set_xlabel("Expert")
    axes.set_ylabel("MoE layer")
    layer_panels.ratio_key(figure, image, [axes], "Load / fair share")
    return figure


@style.styled
def expert_coactivation(assessed: AssessedRun) -> Figure:
    """Show which experts a token selects together, against an even draw of the others."""
    frame = assessed.marts.coactivation
    ratio = layer_panels.numbers(frame, "probability") / layer_panels.numbers(
        frame, "uniform_probability"
    )
    frame = frame.assign(ratio=ratio)
    present = [int(index) for index in frame["moe_index"].unique()]
    title = "Experts that a token selects together"
    if not present:
        reason = "The router selects one expert per token (top-1): there are no pairs."
        return _empty(title, assessed, reason)
    shown = layer_panels.shown_layers(present)
    experts = _experts(assessed.marts)
    matrices = [_pairs(frame, layer, "other_expert", experts[layer]) for layer in shown]
    for matrix in matrices:
        np.fill_diagonal(matrix, np.nan)
    note = (
        layer_panels.shown_note(shown, len(present)) + "Grey: the expert itself, or never selected."
    )
    figure = style.new_figure(
        layer_panels.grid_size(len(shown), 2.1), title, layer_panels.caption(assessed, note)
    )
    titles = [f"layer {layer}" for layer in shown]
    _heatmaps(
        figure,
        dict(zip(titles, matrices, strict=True)),
        ("Other expert", "Expert"),
        "P(other | expert) / uniform",
        layer_panels.ratio_norm([layer_panels.numbers(frame, "ratio")]),
    )
    return figure


@style.styled
def expert_transition(assessed: AssessedRun) -> Figure:
    """Show how far a layer's first choice predicts the next layer's: lift over independence."""
    transition = assessed.marts.transition
    frame = transition.assign(ratio=layer_panels.numbers(transition, "lift"))
    present = [int(index) for index in frame["moe_index"].unique()]
    title = "First choices from one MoE layer to the next"
    if not present:
        return _empty(title, assessed, "The run has one MoE layer: there is no next one.")
    shown = layer_panels.shown_layers(present)
    experts = _experts(assessed.marts)
    note = layer_panels.shown_note(shown, len(present), "pairs of layers") + (
        "Lift: P(next expert | expert) / P(next expert), 1 if the layers were independent. "
        "Grey: never a first choice."
    )
    matrices = {
        f"layer {layer} to {layer + 1}": _pairs(
            frame, layer, "next_expert", experts[layer], experts.get(layer + 1)
        )
        for layer in shown
    }
    figure = style.new_figure(
        layer_panels.grid_size(len(shown), 2.1), title, layer_panels.caption(assessed, note)
    )
    norm = layer_panels.ratio_norm([layer_panels.numbers(frame, "ratio")])
    _heatmaps(figure, matrices, ("Expert of the next layer", "Expert"), "Lift", norm)
    return figure


@style.styled
def domain_specialisation(assessed: AssessedRun) -> Figure:
    """Show which experts the text of every domain selects, against an even router."""
    frame = assessed.marts.domain_expert
    ratio = layer_panels.numbers(frame, "specialisation")
    frame = frame.assign(ratio=ratio / layer_panels.numbers(frame, "uniform_specialisation"))
    sizes = frame.groupby("domain")["domain_tokens"].max().sort_values(ascending=False)
    domains = sorted(sizes.index[:MOST_DOMAINS])
    shown = layer_panels.shown_layers([int(index) for index in frame["moe_index"].unique()])
    experts = _experts(assessed.marts)
    matrices = {
        f"layer {layer}": _domains(frame, layer, domains, experts[layer]) for layer in shown
    }
    note = layer_panels.shown_note(shown, frame["moe_index"].nunique()) + (
        f"The {len(domains)} largest of {len(sizes)} domains. " if len(sizes) > len(domains) else ""
    )
    wide = max(experts.values()) > WIDE
    rows = len(shown) if wide else -(-len(shown) // (2 if len(shown) == 4 else 3))
    height = 1.1 + rows * (0.55 + 0.15 * len(domains))
    figure = style.new_figure(
        (style.WIDTH, height), "Experts by domain of text", layer_panels.caption(assessed, note)
    )
    norm = layer_panels.ratio_norm([layer_panels.numbers(frame, "ratio")])
    key = "Share of tokens / uniform"
    panels = _heatmaps(figure, matrices, ("Expert", ""), key, norm, stacked=wide)
    names = [_shortened(domain) for domain in domains]
    for axes in panels:
        place = axes.get_subplotspec()
        first = place is not None and place.is_first_col()
        axes.set_yticks(range(len(names)), names if first else [])
    return figure


def _experts(marts: Marts) -> dict[int, int]:
    """Return the number of experts of every MoE layer."""
    layers = marts.layers
    return dict(
        zip(layers["moe_index"].astype(int), layers["num_experts"].astype(int), strict=True)
    )


def _pairs(
    frame: pd.DataFrame, layer: int, other: str, experts: int, others: int | None = None
) -> NDArray:
    """Return (experts, others) ratios of a layer; an expert without any row is nan."""
    rows = frame[frame["moe_index"] == layer]
    matrix = np.full((experts, others or experts), np.nan)
    first, second = rows["expert"].to_numpy(int), rows[other].to_numpy(int)
    # two experts that are selected, but never together, have no row
    matrix[np.ix_(np.unique(first), np.unique(second))] = 0
    matrix[first, second] = rows["ratio"]
    return matrix


def _domains(frame: pd.DataFrame, layer: int, domains: list[str], experts: int) -> NDArray:
    """Return (domains, experts) ratios of a layer, 0 where a domain never selects an expert."""
    rows = frame[(frame["moe_index"] == layer) & frame["domain"].isin(domains)]
    matrix = np.zeros((len(domains), experts))
    places = rows["domain"].map({domain: place for place, domain in enumerate(domains)})
    matrix[places.to_numpy(int), rows["expert"].to_numpy(int)] = rows["ratio"]
    return matrix


def _heatmaps(
    figure: Figure,
    matrices: dict[str, NDArray],
    labels: tuple[str, str],
    key: str,
    norm: LogNorm,
    stacked: bool = False,
) -> list[Axes]:
    """Draw heatmaps on one scale: titles -> ratios, labels of x and y.

    The scale is of all layers, also of those that are not shown: the page's is the same.
    """
    if stacked:
        panels = list(figure.subplots(len(matrices), 1, squeeze=False, sharex=True).ravel())
    else:
        panels = layer_panels.panel_grid(figure, len(matrices))
    for axes, (title, matrix) in zip(panels, matrices.items(), strict=True):
        image = layer_panels.ratio_heatmap(axes, matrix, norm, ticks=16 if stacked else 8)
        axes.set_title(title)
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(labels[1])
    for axes in panels[-1:] if stacked else layer_panels.lowest_panels(panels):
        axes.set_xlabel(labels[0])
    layer_panels.ratio_key(figure, image, panels, key)
    return panels


def _empty(title: str, assessed: AssessedRun, reason: str) -> Figure:
    size = (style.SINGLE_PANEL[0], 2.0)
    figure = style.new_figure(size, title, layer_panels.caption(assessed))
    return layer_panels.nothing_to_draw(figure, reason)


def _shortened(name: object) -> str:
    text = str(name)
    return text if len(text) <= LONGEST_DOMAIN else f"{text[: LONGEST_DOMAIN - 1]}…"
