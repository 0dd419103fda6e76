"""The page's section on the text itself: passages whose tokens are coloured by their routing."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports.marts.facts import token_literal
from gatehouse.reports.marts.texts import UNLANDED, Texts
from gatehouse.reports.marts.untold import EVENTS, TOKEN_IDS
from gatehouse.reports.page.chart import Chart, Group, Part
from gatehouse.reports.page.expert_hues import hues
from gatehouse.reports.page.packing import packed, plain

TEXT = Group(
    "the-text",
    "The text itself",
    (
        Chart(
            "passages",
            "Tokens by their experts",
            "Each token has the colour of what the router did with it in this layer. Point at a "
            "token, or move to it with the arrow keys, for its experts; choose it for all layers.",
            wide=True,
            needs=frozenset({EVENTS, TOKEN_IDS}),
        ),
    ),
)

TEXT_BYTES = 400_000
"""The most that passages may take before base64: of many layers there are fewer tokens."""

MOST_TOKENS = 3000
HUNDREDTHS = 100
SMALLEST_SHOWN = 1 / HUNDREDTHS
COLOURINGS = (
    ("expert", "first expert"),
    ("entropy", "entropy"),
    ("confidence", "confidence"),
    ("consistency", "consistency with the token's usual set"),
    ("agreement", "agreement with the lookup table"),
)


def with_texts(parts: Sequence[Part], content: dict[str, Any]) -> tuple[Part, ...]:
    """Return a page's parts, without the group on the text if the page's data have none."""
    if "text" in content:
        return tuple(parts)
    return tuple(
        replace(part, groups=tuple(each for each in part.groups if each.stem != TEXT.stem))
        for part in parts
    )


def budget(layers: pd.DataFrame) -> int:
    """Return how many tokens all passages of a page may have together.

    Args:
        layers: top_k of each MoE layer.
    """
    # ids and weights; entropy in two bytes, confidence, what the usual set holds
    of_a_token = int((2 * layers["top_k"] + 4).sum())
    return max(min(MOST_TOKENS, TEXT_BYTES // of_a_token), 1)


def colourings(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the colourings that the data of `passages` allows, as (name, words)."""
    has = {
        "expert": content["ranked"],
        "entropy": "entropy" in content["layers"][0],
        "confidence": "confidence" in content["layers"][0],
        "consistency": "shared" in content["layers"][0],
        "agreement": "shared" in content["layers"][0],
    }
    return [each for each in COLOURINGS if has[each[0]]]


def passages(
    texts: Texts, layers: pd.DataFrame, together: pd.DataFrame | None, *, ranked: bool
) -> dict[str, Any]:
    """Return what the script reads of passages; what the source does not tell has no key.

    Numbers of a layer have a row for each token, in the order of the passages. Weights, entropy
    and confidence are in hundredths; a weight below that is one hundredth, and 0 is that of an
    expert that did not run.

    Args:
        texts: the passages.
        layers: moe_index, num_experts and top_k of each MoE layer, in order.
        together: moe_index, expert, other_expert, probability that a token of the first chose the
            second; None: as it is in the passages.
        ranked: whether the first of a token's experts is the one with the greatest weight.
    """
    tokens = texts.tokens
    words, word = np.unique(tokens["token_id"], return_inverse=True)
    named = tokens.drop_duplicates("token_id").set_index("token_id").loc[words]
    named = named.assign(token_str=named["token_str"].fillna(""))
    keys = pd.MultiIndex.from_frame(tokens[["sample_id", "position"]])
    sizes = tokens.groupby("sample_id").size()
    by_layer = dict(iter(texts.routes.groupby("moe_index")))
    return {
        "rule": texts.rule,
        "ranked": ranked,
        "passages": [
            _passage(row, int(sizes.get(row["sample_id"], 0)))
            for row in texts.passages.to_dict("records")
        ],
        "text": named["token_str"].to_list(),
        "literal": [token_literal(each) for each in named["token_str"]],
        "id": plain(words),
        "special": packed(named["is_special"].fillna(False).astype(bool)),
        "word": packed(word),
        "layers": [
            _layer(
                by_layer[int(row["moe_index"])].set_index(["sample_id", "position"]).reindex(keys),
                row,
                together,
            )
            for row in layers.to_dict("records")
        ],
    }


def _passage(row: dict[Hashable, Any], shown: int) -> dict[str, Any]:
    kept = {name: row[name] for name in ("name", "domain", "split")}
    counts = {name: int(row[name]) for name in ("sample_id", "tokens", "prompt_tokens", "first")}
    return {name: None if pd.isna(text) else str(text) for name, text in kept.items()} | {
        **counts,
        "sample_id": None if counts["sample_id"] == UNLANDED else counts["sample_id"],
        "shown": shown,
    }


def _layer(
    rows: pd.DataFrame, layer: dict[Hashable, Any], together: pd.DataFrame | None
) -> dict[str, Any]:
    width = int(layer["top_k"])
    weights = _lists(rows["weights"], width)
    shown = np.where(weights > 0, np.maximum(weights, SMALLEST_SHOWN), weights)
    numbers = {
        "weights": (shown, HUNDREDTHS),
        "entropy": (_floats(rows["entropy"]), HUNDREDTHS),
        "confidence": (_floats(rows["confidence"]), HUNDREDTHS),
        "shared": (_floats(rows["shared"]), 1),
        "first": (_floats(rows["first_agrees"]), 1),
    }
    return {
        "experts": int(layer["num_experts"]),
        "top_k": width,
        "hue": packed(layer_hues(rows, layer, together)),
        "chosen": packed(_lists(rows["experts"], width)),
        **{
            name: packed(values, scale)
            for name, (values, scale) in numbers.items()
            if not np.isnan(values).all()
        },
    }


def layer_hues(
    routes: pd.DataFrame, layer: dict[Hashable, Any], together: pd.DataFrame | None
) -> NDArray[np.intp]:
    """Return (experts,) the hue of each expert of a layer, below `reports.page.expert_hues.HUES`.

    Args:
        routes: of the layer, with experts.
        layer: its moe_index, num_experts and top_k.
        together: as for `passages`.
    """
    experts, width = int(layer["num_experts"]), int(layer["top_k"])
    if width == 1:
        return hues(None, experts)
    if together is None:
        return hues(_pairs(_lists(routes["experts"], width), experts), experts)
    return hues(_matrix(together, layer, experts), experts)


def _floats(column: pd.Series) -> NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _lists(column: pd.Series, width: int) -> NDArray[np.float64]:
    """Return (tokens, width) of lists; NaN where there is none."""
    none: Sequence[float] = [np.nan] * width
    rows = [
        none if each is None or each is pd.NA or np.ndim(each) == 0 else each for each in column
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def _pairs(chosen: NDArray[np.float64], experts: int) -> NDArray[np.float64]:
    """Return (experts, experts) how many tokens chose both."""
    of_token = np.zeros((len(chosen), experts))
    token, place = np.nonzero(~np.isnan(chosen))
    of_token[token, chosen[token, place].astype(int)] = 1
    return _without_self(of_token.T @ of_token)


def _matrix(
    together: pd.DataFrame, layer: dict[Hashable, Any], experts: int
) -> NDArray[np.float64] | None:
    rows = together[together["moe_index"] == layer["moe_index"]]
    if rows.empty:
        return None
    found = np.zeros((experts, experts))
    found[rows["expert"], rows["other_expert"]] = rows["probability"].fillna(0)
    return _without_self(found)


def _without_self(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    np.fill_diagonal(matrix, 0)
    return matrix
