"""The page of one text alone: small, self-contained, with the section that reports have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gatehouse.reports.marts.texts import Texts
from gatehouse.reports.marts.untold import ORDER
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


@dataclass(frozen=True)
class TracedText:
    """A text with its routing, and what is known around it.

    `source` is the run or model, `name` the text's. `layers` has a row per MoE layer: layer,
    moe_index, stack, block, num_experts, top_k. Of a run, `together` are the pairs of experts of
    `reports.page.passages`, `ranks` and `tokens` the rows of `Marts.frequency_rank` and
    `Marts.tokens` that are of the text's tokens; None for a text that no run has.
    """

    source: str
    name: str
    texts: Texts
    layers: pd.DataFrame
    untold: Sequence[str] = ()
    together: pd.DataFrame | None = None
    ranks: pd.DataFrame | None = None
    tokens: pd.DataFrame | None = None

    @property
    def is_ranked(self) -> bool:
        """Whether the first of a token's experts is the one with the greatest weight."""
        return ORDER not in self.untold


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
