"""Which experts a token will select, predicted: how far down a prediction each of them stands.

A prediction ranks all experts of a layer. With a budget of n slots its first n are loaded ahead, so
an expert at rank r is there if, and only if, r is below n.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gatehouse.reports.inference.accesses import Integers

TOKENS_AT_ONCE = 4096
"""Tokens whose experts are ranked together."""


def same_again(experts: Integers, positions: Integers, horizon: int, num_experts: int) -> Integers:
    """Return (tokens, top_k) ranks among the experts of the token `horizon` before.

    Experts that were not selected then, and all experts of a text's first tokens, have the rank
    `num_experts`.

    Args:
        experts: (tokens, top_k) of texts one after another.
        positions: (tokens,) places in their text, which begins at 0 and has no gaps.
        horizon: how many tokens ahead is predicted, 1 or more.
        num_experts: of the layer.
    """
    ranks = np.full(experts.shape, num_experts)
    earlier = experts[: max(len(experts) - horizon, 0)]
    is_same = experts[horizon:, :, None] == earlier[:, None, :]
    found = np.where(is_same.any(axis=2), is_same.argmax(axis=2), num_experts)
    is_known = np.asarray(positions)[horizon:, None] >= horizon
    ranks[horizon:] = np.where(is_known, found, num_experts)
    return ranks


def by_keys(
    learned: Integers,
    asked: Integers,
    keys: Sequence[tuple[Integers, Integers]],
    num_experts: int,
) -> Integers:
    """Return (tokens, top_k) ranks among the experts that tokens with the same key had most often.

    Of experts as frequent after the first key, also where it was never seen, the one is first that
    is more frequent after the next key, then in the whole text, then the one with the lower number.
    Without keys the prediction is the same for all tokens.

    Args:
        learned: (learned tokens, top_k) experts of the text that is learned from.
        asked: (tokens, top_k) experts to predict.
        keys: the most telling first, such as the tokens' ids: (learned tokens,) and (tokens,).
        num_experts: of the layer.
    """
    no_key = np.zeros(len(asked), np.int64)
    groups, which = np.unique(
        np.stack([*(of_asked for _, of_asked in keys), no_key]), axis=1, return_inverse=True
    )
    uses = np.bincount(learned.ravel(), minlength=num_experts)
    scores = np.tile(uses * num_experts + np.arange(num_experts)[::-1], (groups.shape[1], 1))
    for place in reversed(range(len(keys))):
        counts = _counts(learned, keys[place][0], groups[place], num_experts)
        scores += counts * (scores.max(initial=0) + 1)
    place_of = which.ravel()
    return _ranks(asked, lambda tokens: scores[place_of[tokens]])


def by_layer_before(
    learned: Integers,
    asked: Integers,
    before: tuple[Integers, Integers],
    num_experts: int,
) -> Integers:
    """Return (tokens, top_k) ranks by the experts that the token selected in a layer before.

    An expert scores the sum, over those experts, of how often a token that selected the one there
    selected the other here. Ties are for the lower number.

    Args:
        learned: (learned tokens, top_k) experts of the text that is learned from.
        asked: (tokens, top_k) experts to predict.
        before: the same tokens' experts in the layer before: (learned tokens, any), (tokens, any).
        num_experts: of the layer.
    """
    of_learned, of_asked = before
    width = 1 + int(max(of_learned.max(initial=0), of_asked.max(initial=0)))
    cells = of_learned[:, :, None].astype(np.int64) * num_experts + learned[:, None, :]
    counts = np.bincount(cells.ravel(), minlength=width * num_experts).reshape(width, num_experts)
    uses = np.bincount(of_learned.ravel(), minlength=width)
    shares = counts / np.maximum(uses, 1)[:, None]
    return _ranks(asked, lambda tokens: shares[of_asked[tokens]].sum(axis=1))


def _counts(
    learned: Integers, learned_keys: Integers, wanted: Integers, num_experts: int
) -> NDArray[np.int64]:
    """Return (wanted, E): how often the learned tokens of a key selected each expert."""
    known, which = np.unique(wanted, return_inverse=True)
    place = np.searchsorted(known, learned_keys)
    is_wanted = np.take(known, place, mode="clip") == learned_keys
    cells = place[is_wanted, None] * num_experts + learned[is_wanted]
    counts = np.bincount(cells.ravel(), minlength=len(known) * num_experts)
    return counts.reshape(-1, num_experts)[which.ravel()]


def _ranks(
    asked: Integers, scores_of: Callable[[slice], NDArray[np.float64 | np.int64]]
) -> Integers:
    """Return (tokens, top_k): how many experts score higher, or as high with a lower number."""
    ranks = np.empty(asked.shape, np.int64)
    for start in range(0, len(asked), TOKENS_AT_ONCE):
        tokens = slice(start, start + TOKENS_AT_ONCE)
        scores, experts = scores_of(tokens), asked[tokens]
        own = np.take_along_axis(scores, experts, axis=1)
        for choice in range(asked.shape[1]):
            this, expert = own[:, choice, None], experts[:, choice, None]
            is_lower = np.arange(scores.shape[1]) < expert
            is_before = (scores > this) | ((scores == this) & is_lower)
            ranks[tokens, choice] = is_before.sum(axis=1)
    return ranks
