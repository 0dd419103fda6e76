"""The page's tables by layer: tokens against layers, experts against experts and domains."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports.colours import ratio_limit
from gatehouse.reports.marts import Marts
from gatehouse.reports.marts.facts import token_literal
from gatehouse.reports.page.grids import entropy_cell
from gatehouse.reports.page.packing import THOUSANDTHS, Packed, packed, plain

MOST_TOKENS = 3000
TOKEN_BYTES, MANY_LAYERS, LAYER_BYTES = 1_300_000, 48, 9_000
"""The most that the token table may take before base64: with many layers it has fewer tokens, and
less by so much for each layer beyond so many, since all else takes more."""

VALUE_BYTES = 11
"""What one token takes in one layer."""

SHOWN_EXPERTS = 64
"""A pair matrix shows at most this many experts: the busiest."""

PAIR_BYTES, CELL_BYTES = 800_000, 5.4
"""The most that all pair matrices may take, and what a cell takes in both matrices of a layer."""

TEN_THOUSANDTHS = 10 * THOUSANDTHS
SMALL_SHARE = 0.65
"""Below it ten times as many steps fit in two bytes."""

SHARE_COLUMNS = ("mean_confidence", "routing_consistency", "held_out_consistency")


def tokens(
    ranks: pd.DataFrame,
    frames: list[pd.DataFrame],
    steps: list[float] | None,
    needed: Collection[int] = (),
) -> dict[str, Any]:
    """Return the most frequent tokens and (layers, tokens) matrices of their routing.

    `frequency` has a row per distinct set of frequencies and `frequency_of` the row of each
    layer: only an encoder and its decoder read different tokens. A matrix without any value,
    since the run's source did not tell it, has no key. `others` of the tokens, the last ones, are
    not the most frequent but needed.

    Args:
        ranks: `marts.frequency_rank`.
        frames: the rows of `marts.tokens` of each layer.
        steps: of the entropy slider; `column` is the cell, so that eligibility stays exact; None
            where there is no slider.
        needed: ids of tokens to have in any case.
    """
    available = TOKEN_BYTES - LAYER_BYTES * max(len(frames) - MANY_LAYERS, 0)
    most = min(MOST_TOKENS, max(available, 0) // (VALUE_BYTES * max(len(frames), 1)))
    top, others = _kept(ranks.sort_values("frequency_rank"), most, needed)
    rows = [frame.set_index("token_id").reindex(top["token_id"]) for frame in frames]
    entropy = _matrix(rows, "mean_entropy")
    measured = {
        "mean_entropy": (entropy, THOUSANDTHS),
        "top_expert": (_matrix(rows, "top_expert"), 1),
        **{name: (_matrix(rows, name), THOUSANDTHS) for name in SHARE_COLUMNS},
    }
    if steps is not None:
        cells = np.where(np.isnan(entropy), np.nan, entropy_cell(entropy, steps))
        measured["column"] = (cells, 1)
    frequencies, frequency_of = _distinct_rows(_matrix(rows, "frequency"))
    return {
        "literal": [token_literal(text) for text in top["token_str"]],
        "id": plain(top["token_id"]),
        "special": packed(top["is_special"]),
        "distinct": len(ranks),
        "others": others,
        "frequency": [packed(row) for row in frequencies],
        "frequency_of": frequency_of,
        **{
            name: packed(matrix, scale)
            for name, (matrix, scale) in measured.items()
            if not np.isnan(matrix).all()
        },
    }


def _kept(ranked: pd.DataFrame, most: int, needed: Collection[int]) -> tuple[pd.DataFrame, int]:
    """Return at most so many tokens, and how many of them are not the most frequent but needed."""
    is_needed = ranked["token_id"].isin(list(needed)).to_numpy()
    places = np.sort(np.argsort(~is_needed, kind="stable")[:most])
    most_frequent = int((places == np.arange(len(places))).sum())
    return ranked.iloc[places], len(places) - most_frequent


def _matrix(rows: list[pd.DataFrame], name: str) -> NDArray[np.float64]:
    return np.array([each[name].to_numpy(dtype=np.float64, na_value=np.nan) for each in rows])


def _distinct_rows(matrix: NDArray[np.float64]) -> tuple[list[NDArray[np.float64]], list[int]]:
    distinct: list[NDArray[np.float64]] = []
    row_of = []
    for row in matrix:
        known = [np.array_equal(row, other, equal_nan=True) for other in distinct]
        if not any(known):
            distinct.append(row)
            known.append(True)
        row_of.append(known.index(True))
    return distinct, row_of


def loads(marts: Marts, indices: list[int]) -> dict[str, Any]:
    """Return the load of every expert of every layer, as a multiple of a fair share."""
    widest = int(marts.layers["num_experts"].max())
    load = marts.expert_load.pivot_table(
        index="moe_index", columns="expert", values="load_ratio", observed=True
    ).reindex(index=indices, columns=range(widest))
    limit = ratio_limit(load.to_numpy(dtype=float, na_value=np.nan))
    return {"experts": widest, "ratio": packed(load, THOUSANDTHS), "limit": limit}


def busiest(marts: Marts, indices: list[int]) -> list[list[float | None]]:
    """Return the share of every layer's load that its 1, 2, … busiest experts compute."""
    by_layer = dict(iter(marts.expert_coverage.groupby("moe_index")))
    return [plain(by_layer[index]["activation_share"]) for index in indices]


def choices(marts: Marts, indices: list[int]) -> dict[str, Any]:
    """Return pairs of experts within and between layers, and experts by domain."""
    widest = int(marts.layers["num_experts"].max())
    by_layer = dict(iter(marts.expert_load.groupby("moe_index")))
    most = min(SHOWN_EXPERTS, int((PAIR_BYTES / CELL_BYTES / max(len(indices), 1)) ** 0.5))
    busiest = {
        index: by_layer[index].nlargest(most, "load_share")["expert"].sort_values().to_list()
        for index in indices
    }
    together = marts.coactivation.assign(even=_floats(marts.coactivation, "uniform_probability"))
    next_share = _floats(marts.transition, "probability") / _floats(marts.transition, "lift")
    following = marts.transition.assign(even=next_share)
    return {
        "coactivation": _pairs(together, "other_expert", indices, busiest, 0),
        "transition": _pairs(following, "next_expert", indices, busiest, 1),
        "domains": _domains(marts.domain_expert, indices, widest),
    }


def _floats(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _pairs(
    frame: pd.DataFrame, other: str, indices: list[int], busiest: dict[int, list[int]], ahead: int
) -> dict[str, Any]:
    """Return P(other | expert) of each layer among its busiest experts; None where it has none.

    `even` is what the probability of each column would be if the row did not matter, and `limit`
    the end of the scale of ratios to it, the same for all layers.

    Args:
        frame: moe_index, expert, `other`, probability, even.
        other: the column of the second expert.
        indices: of the layers.
        busiest: experts to show, by layer.
        ahead: how many layers further on the second expert is, 0 or 1.
    """
    by_layer = dict(iter(frame.groupby("moe_index")))
    pairs: list[dict[str, Any] | None] = []
    for place, index in enumerate(indices):
        following = place + ahead
        if index not in by_layer or following >= len(indices):
            pairs.append(None)
            continue
        first, second = busiest[index], busiest[indices[following]]
        rows = by_layer[index]
        matrix = rows.pivot(index="expert", columns=other, values="probability")
        # two experts that have pairs, but none together, have no row
        matrix = matrix.astype(float).fillna(0).reindex(index=first, columns=second)
        if not ahead:
            matrix = matrix.mask(np.equal.outer(first, second))
        even = rows.groupby(other)["even"].first().reindex(second)
        values = {"probability": _packed_shares(matrix.to_numpy()), "even": plain(even)}
        pairs.append({"rows": first, "columns": second, **values})
    ratios = _floats(frame, "probability") / _floats(frame, "even")
    return {"limit": ratio_limit(ratios), "layers": pairs}


def _packed_shares(matrix: NDArray[np.float64]) -> Packed:
    """Return shares as exactly as two bytes allow: of many experts all are small."""
    greatest = np.nanmax(matrix, initial=0)
    return packed(matrix, TEN_THOUSANDTHS * (10 if greatest < SMALL_SHARE else 1))


def _domains(frame: pd.DataFrame, indices: list[int], widest: int) -> dict[str, Any]:
    """Return each domain's share of tokens that chose an expert: 0 where no row says so."""
    names = sorted(frame["domain"].unique())
    by_layer = dict(iter(frame.groupby("moe_index")))
    layers: list[Packed | None] = []
    for index in indices:
        if index not in by_layer:
            layers.append(None)
            continue
        table = by_layer[index].pivot(index="domain", columns="expert", values="specialisation")
        shares = table.astype(float).reindex(names, columns=range(widest)).fillna(0)
        layers.append(packed(shares, TEN_THOUSANDTHS))
    sizes = frame.groupby("domain")["domain_tokens"].max().reindex(names)
    ratios = _floats(frame, "specialisation") / _floats(frame, "uniform_specialisation")
    return {
        "names": [str(name) for name in names],
        "tokens": plain(sizes),
        "limit": ratio_limit(ratios),
        "layers": layers,
    }
