"""Whether rows stand beside their tokens: a token mostly goes to the experts it usually goes to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatehouse.ingest.traces.laws.fitted import Fitted
from gatehouse.ingest.traces.laws.order import Order, has_whole_batches
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import counted

OFTEN = 5
"""How often a token is seen at least, to have usual experts."""

ENOUGH_TOKENS = 50
"""Different tokens seen that often, from which on an order can be told from another."""

CLEAR = 5.0
"""Standard errors, over tokens, by which the best order leads every other."""

AS_THEY_ARE = Order("as they are")
SHIFTED = Order("shifted to the next token", 1), Order("shifted to the token before", -1)
CHANCE = Order("in random order")
NOT_OFFERED = Order("shifted by two tokens", 2), Order("shifted back by two tokens", -2)
"""No engine writes these; if one of them is the best, the true order is none that is known."""


@dataclass(frozen=True)
class Alignment:
    """Which order the rows of a trace have.

    Attributes:
        order: the one that is clearly the best; as they are, where this cannot be tested.
        is_tested: whether there were enough tokens.
        sentence: the scores, or why there are none.
    """

    order: Order
    is_tested: bool
    sentence: str


def alignment(sequences: Sequence[Fitted], batch_sizes: Sequence[int] = ()) -> Alignment:
    """Return the order in which rows fit their tokens, with the scores that tell it.

    The score of an order is how often a token goes to the set of experts that it goes to most,
    the mean over layers and over tokens that are seen 5 times or more. Some ten thousand tokens
    tell it; more of them cost time only.

    Args:
        sequences: all with the same layers, as they follow each other in the file.
        batch_sizes: of sequences whose rows may take turns.

    Raises:
        GatehouseError: no order is clearly better than the others, and than chance.
    """
    known = [sequence for sequence in sequences if sequence.token_ids is not None]
    ids = np.concatenate([sequence.token_ids for sequence in known] or [np.empty(0, np.int32)])
    _, tokens, times = np.unique(ids, return_inverse=True, return_counts=True)
    often = times >= OFTEN
    found = int(often.sum())
    if found < ENOUGH_TOKENS:
        return Alignment(
            AS_THEY_ARE,
            False,
            f"whether rows stand beside their tokens cannot be tested: {ENOUGH_TOKENS} tokens "
            f"would have to occur {OFTEN} times or more, and {found} of them do",
        )
    sets = _numbered_sets(known)
    taken = np.flatnonzero(often[tokens])
    number = (np.cumsum(often) - 1)[tokens[taken]]
    shares = {
        order: _shares(number, sets[rows[taken]]) for order, rows in _rows(known, batch_sizes)
    }
    return _judged(shares, known[0].name, found)


def _rows(
    sequences: Sequence[Fitted], batch_sizes: Sequence[int]
) -> list[tuple[Order, np.ndarray]]:
    """Return (order, the row of each token) for every candidate, and for chance."""
    lengths = [len(sequence.experts) for sequence in sequences]
    batches = [
        Order(f"taking turns in batches of {size}", batch=size)
        for size in batch_sizes
        if size > 1 and has_whole_batches(sequences, size)
    ]
    orders = (AS_THEY_ARE, *SHIFTED, *batches, *NOT_OFFERED)
    shuffled = np.random.default_rng(0).permutation(sum(lengths))
    return [*((order, order.rows_of(lengths)) for order in orders), (CHANCE, shuffled)]


def _judged(shares: dict[Order, np.ndarray], name: str, tokens: int) -> Alignment:
    """Return the clear winner of shares [tokens, L] by order, with its scores."""
    by_token = {order: share.mean(axis=1) for order, share in shares.items()}
    ranked = sorted(by_token, key=lambda order: -by_token[order].mean())
    scores = ", ".join(f"{order.name} {by_token[order].mean():.3f}" for order in ranked)
    best = ranked[0]
    is_clear = all(
        _standard_errors(by_token[best] - by_token[other]) >= CLEAR for other in ranked[1:]
    )
    if not is_clear or best in (*NOT_OFFERED, CHANCE):
        raise GatehouseError(
            f"{name} and what follows: rows do not clearly stand beside their tokens in any known "
            f"order; how often tokens go to their usual experts, over {counted(tokens, 'token')}: "
            f"{scores}; check how tokens and routing were saved, or import it without token ids"
        )
    return Alignment(
        best,
        True,
        f"rows stand beside their tokens {best.name}: how often tokens go to their usual experts, "
        f"over {counted(tokens, 'token')}: {scores}",
    )


def _standard_errors(lead: np.ndarray) -> float:
    """Return by how many standard errors a lead [tokens] is above 0."""
    error = lead.std(ddof=1) / np.sqrt(len(lead))
    return float(lead.mean() / error) if error > 0 else float(np.sign(lead.mean()) * np.inf)


def _numbered_sets(sequences: Sequence[Fitted]) -> np.ndarray:
    """Return [T, L] numbers, the same in a layer for the same set of experts."""
    experts = np.concatenate([sequence.experts for sequence in sequences])
    codes = np.random.default_rng(0).integers(2**63, size=int(experts.max()) + 1, dtype=np.uint64)
    sums = codes[experts].sum(axis=2)
    numbers = [np.unique(layer, return_inverse=True)[1] for layer in sums.T]
    return np.stack(numbers, axis=1)


def _shares(number: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Return how often each token goes to its modal set, [tokens, L].

    Args:
        number: [T] of the token, from 0.
        sets: [T, L] of its set of experts, from 0.
    """
    times = np.bincount(number)
    shares = []
    for layer in sets.T:
        width = int(layer.max()) + 1
        pairs, counts = np.unique(number * width + layer, return_counts=True)
        most = np.zeros(len(times), np.int64)
        np.maximum.at(most, pairs // width, counts)
        shares.append(most / times)
    return np.stack(shares, axis=1)
