"""The page of one text alone: small, self-contained, with the section that reports have."""

from typing import Any

from gatehouse.reports.marts.traced_text import TracedText
from gatehouse.reports.page import matrices
from gatehouse.reports.page.html import rendered, script
from gatehouse.reports.page.packing import script_json
from gatehouse.reports.page.passages import TEXT, colourings, passages
from gatehouse.reports.page.report import CORE, untested_layers

SCRIPTS = (
    *CORE,
    "controls/layer_bar.js",
    "charts/passages.js",
    "controls/token_table.js",
    "controls/token_detail.js",
    "text_main.js",
)


def render_text(traced: TracedText, layer: int = 0) -> str:
    """Return the page as HTML text.

    Args:
        traced: the text.
        layer: index of the MoE layer that it shows first.
    """
    indices = [int(index) for index in traced.layers["moe_index"]]
    first = indices.index(layer)
    text = passages(traced.texts, traced.layers, traced.together, ranked=traced.is_ranked)
    content: dict[str, Any] = {
        "run": {"id": traced.name},
        "layer": first,
        "layers": {},
        "indices": indices,
        "text": text,
    }
    if traced.ranks is not None and traced.tokens is not None:
        by_layer = dict(iter(traced.tokens.groupby("moe_index")))
        frames = [by_layer.get(index, traced.tokens.head(0)) for index in indices]
        content["tokens"] = matrices.tokens(traced.ranks, frames, None)
    return rendered(
        "text.html.j2",
        scripts=[script(tuple(f"scripts/{name}" for name in SCRIPTS), True)],
        title=traced.name,
        source=traced.source,
        data=script_json(content),
        layers=untested_layers(traced.layers),
        layer=first,
        chart=TEXT.charts[0],
        passages=text,
        colourings=colourings(text),
    )
