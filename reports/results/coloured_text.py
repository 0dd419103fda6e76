"""A text with its routing as a terminal shows it: coloured by expert, and as a table."""

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Any

import pandas as pd

from gatehouse.reports.marts.traced_text import TracedText
from gatehouse.reports.page.passages import layer_hues

Piece = tuple[str, int | None]
"""Text, and the hue behind it, below `reports.page.expert_hues.HUES`; None where it has none."""

LONGEST_TOKEN = 24
GAP = 2


def pieces(traced: TracedText, layer: int, width: int | None) -> Iterator[Piece]:
    """Yield the text of the first passage, what its colours mean, and the table of its experts.

    Args:
        traced: the text.
        layer: index of the MoE layer by whose first experts the tokens are coloured.
        width: columns of the terminal; None: of no limit.
    """
    tokens, routes = traced.texts.tokens, traced.texts.routes
    here = routes[routes["moe_index"] == layer]
    row_of = traced.layers[traced.layers["moe_index"] == layer].iloc[0].to_dict()
    hue_of = [int(hue) for hue in layer_hues(here, row_of, traced.together)]
    first = [each[0] if each else None for each in _experts(tokens, here)]
    passage = traced.texts.passages.iloc[0]
    yield f"{traced.name}\n{traced.source}, MoE layer {layer}{_part(passage)}\n\n", None
    for row, expert in zip(tokens.to_dict("records"), first, strict=True):
        if row["position"] == passage["prompt_tokens"]:
            yield " [generated:] ", None
        yield from _word(_text_of(row), None if expert is None else hue_of[expert])
    yield "\n\n", None
    yield from _legend(first, hue_of, is_ranked=traced.is_ranked)
    yield f"\n\n{table(traced, layer, width)}\n", None


def _part(passage: pd.Series) -> str:
    first, past, tokens = (int(passage[name]) for name in ("first", "past", "tokens"))
    return "" if past - first == tokens else f": tokens {first} to {past - 1} of {tokens:,}"


def _experts(tokens: pd.DataFrame, routes: pd.DataFrame) -> list[list[int] | None]:
    """Return the experts of each token in one layer; None of a token that was not routed there."""
    keys = ["sample_id", "position"]
    experts = tokens[keys].merge(routes[[*keys, "experts"]], on=keys, how="left")["experts"]
    return [
        None if isinstance(each, float) else [int(expert) for expert in each] for each in experts
    ]


def _text_of(token: dict[Hashable, Any]) -> str:
    """Return a token's text; its id where the vocabulary has no text for it."""
    text = token["token_str"]
    return text if isinstance(text, str) else f"[{token['token_id']}]"


def _word(text: str, hue: int | None) -> Iterator[Piece]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        yield line, hue
        if number < len(lines) - 1:
            yield "\\n", hue
            yield "\n", None


def _legend(first: list[int | None], hue_of: list[int], *, is_ranked: bool) -> Iterator[Piece]:
    counts = Counter(each for each in first if each is not None)
    yield "First expert: " if is_ranked else "Expert with the smallest id: ", None
    order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    for number, (expert, tokens) in enumerate(order):
        yield ", " if number else "", None
        yield f" {expert} ", hue_of[expert]
        yield f" {tokens:,}", None


def table(traced: TracedText, layer: int, width: int | None) -> str:
    """Return a line per token with its experts in every layer, the likeliest first.

    Where a terminal is too narrow, each layer has its first expert alone; where that is too wide
    too, there are as many layers as fit, from `layer` on.
    """
    literals = [_literal(each) for each in traced.texts.tokens.to_dict("records")]
    indices = [int(index) for index in traced.layers["moe_index"]]
    whole = {index: _cells(traced, index, None) for index in indices}
    note, shown = "", indices
    named = max([5, *map(len, literals)])
    if width is not None and named + _width(whole, shown) > width:
        whole = {index: _cells(traced, index, 1) for index in indices}
        note = "Of each layer the first expert alone; a wider terminal or --output has all.\n"
    if width is not None and named + _width(whole, shown) > width:
        shown = indices[indices.index(layer) :]
        while len(shown) > 1 and named + _width(whole, shown) > width:
            shown = shown[:-1]
        note = f"{note}MoE layers {shown[0]} to {shown[-1]} of {indices[0]} to {indices[-1]}.\n"
    heads = ["token", *map(str, shown)]
    rows = [
        [literal, *(whole[index][place] for index in shown)]
        for place, literal in enumerate(literals)
    ]
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    lines = [
        (" " * GAP).join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *rows]
    ]
    return note + "Experts by MoE layer:\n" + "\n".join(lines)


def _width(cells: dict[int, list[str]], shown: list[int]) -> int:
    return sum(GAP + max(len(str(index)), *(len(each) for each in cells[index])) for index in shown)


def _cells(traced: TracedText, layer: int, most: int | None) -> list[str]:
    """Return the experts of each token in a layer as text."""
    routes = traced.texts.routes[traced.texts.routes["moe_index"] == layer]
    return [
        " ".join(map(str, each[:most])) if each else "-"
        for each in _experts(traced.texts.tokens, routes)
    ]


def _literal(token: dict[Hashable, Any]) -> str:
    text = token["token_str"]
    literal = repr(text) if isinstance(text, str) else _text_of(token)
    return literal if len(literal) <= LONGEST_TOKEN else f"{literal[: LONGEST_TOKEN - 1]}…"
