"""How often an expert is found in a cache, for every number of slots at once.

Each policy gives an access its stack distance: it is a hit in a cache of n slots if, and only if,
the distance is below n. So one pass through a stream answers for all n, and more slots never hit
less. The first use of an expert has a distance of `num_experts`: no cache has it, except the
static one, which is filled beforehand.

Source: Mattson, Gecsei, Slutz & Traiger (1970), Evaluation techniques for storage hierarchies.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gatehouse.reports.inference.accesses import Accesses, Integers

EMPTY = np.iinfo(np.int64).max
"""The rank of a place of the stack that holds no expert yet."""

PLACES_AT_ONCE = 2**15
"""Of the stacks that advance together: 256 kB, which stays in a core's own memory."""

ACCESSES_AT_ONCE = 2**25
"""Of the streams that advance together: 256 MB for each of their two ranks."""

RANKED_AT_ONCE = 2**20
"""Accesses whose ranks are found together, which takes about ten times their own memory."""


def lru(accesses: Accesses) -> Integers:
    """Return (streams, tokens, top_k) distances where the expert longest unused makes room."""
    return _distances(accesses, _recency_depths)


def lfu(accesses: Accesses) -> Integers:
    """Return (streams, tokens, top_k) distances where the expert least used so far makes room.

    Uses are counted from the start of the stream, also of experts that are not in the cache. Of
    two with as many uses, the one longer unused makes room.
    """
    return _distances(accesses, partial(_ranked_depths, ranking=_frequency))


def belady(accesses: Accesses) -> Integers:
    """Return (streams, tokens, top_k) distances where the expert whose next use is last makes room.

    No policy that loads what it lacks hits more often, at any number of slots: a bound, as it
    needs the future.

    Source: Belady (1966), A study of replacement algorithms for a virtual-storage computer.
    """
    return _distances(accesses, partial(_ranked_depths, ranking=_next_use))


def static(accesses: Accesses, uses: Integers) -> Integers:
    """Return (streams, tokens, top_k) distances where the experts used most elsewhere stay.

    The cache is filled before the first token, which no policy above is.

    Args:
        accesses: what the cache is asked for.
        uses: (num_experts,) or (streams, num_experts) accesses, or gate mass, of the text that it
            is filled by; of two with as much, the one with the lower number comes first.
    """
    order = np.argsort(-np.asarray(uses, np.float64), axis=-1, kind="stable")
    ranks = np.argsort(order, axis=-1).astype(np.int32)
    streams = len(accesses.experts)
    ranks = np.broadcast_to(ranks, (streams, accesses.num_experts))
    is_over = accesses.is_over[..., None]
    asked = np.where(is_over, 0, accesses.experts)
    found = ranks[np.arange(streams)[:, None, None], asked]
    return np.where(is_over, accesses.num_experts, found)


def hits(accesses: Accesses, distances: Integers) -> Integers:
    """Return (streams, num_experts + 1) accesses that 0, 1, ..., num_experts slots would serve.

    Over `accesses.counts` they are hit rates, of one stream or of the sums of several. To count
    some accesses only, of a phase or a layer, give the others a distance of `num_experts`.
    """
    streams, width = len(distances), accesses.num_experts + 1
    cells = distances.reshape(streams, -1) + width * np.arange(streams)[:, None]
    found = np.bincount(cells.ravel(), minlength=streams * width).reshape(streams, width)
    return np.cumsum(found, axis=1) - found


def chance(num_experts: int, top_k: int) -> NDArray[np.float64]:
    """Return (num_experts + 1,) hit rates of LRU, first uses aside, under a random router.

    Of a token's experts, the j-th finds n - j slots with experts that it may be, as the token's
    own j are none of them. A static cache has n / num_experts.
    """
    earlier = np.arange(top_k)
    slots = np.arange(num_experts + 1)[:, None]
    return (np.maximum(slots - earlier, 0) / (num_experts - earlier)).mean(axis=1)


def _distances(accesses: Accesses, depths: Callable[[Integers, int], Integers]) -> Integers:
    """Return distances by `depths`, which takes experts of some streams, (streams, accesses)."""
    found = np.full(accesses.experts.shape, accesses.num_experts, np.int32)
    for streams in _together(accesses):
        tokens = int(np.asarray(accesses.lengths)[streams].max())
        is_over = accesses.is_over[streams, :tokens, None]
        # a use after the last token is later than all others, as none is: any expert will do
        asked = np.where(is_over, 0, accesses.experts[streams, :tokens])
        # small integers are sorted by their digits, and compared many at a time
        small = asked.astype(np.min_scalar_type(accesses.num_experts))
        of_all = depths(small.reshape(len(streams), -1), accesses.num_experts)
        found[streams, :tokens] = np.where(
            is_over, accesses.num_experts, of_all.reshape(asked.shape)
        )
    return found


def _together(accesses: Accesses) -> Iterator[Integers]:
    """Yield the numbers of streams that advance together: of similar length, the longest first."""
    order = np.argsort(-np.asarray(accesses.lengths), kind="stable")
    per_stream = max(1, accesses.experts[0].size)
    most = min(PLACES_AT_ONCE // accesses.num_experts, ACCESSES_AT_ONCE // per_stream)
    for start in range(0, len(order), max(1, most)):
        yield order[start : start + max(1, most)]


def _recency_depths(asked: Integers, num_experts: int) -> Integers:
    """Return depths in stacks that are sorted by last use, which need no ranks."""
    streams = len(asked)
    depth_of = np.full((streams, num_experts), num_experts, asked.dtype)
    places, first_place = depth_of.reshape(-1), num_experts * np.arange(streams)
    is_above = np.empty(depth_of.shape, bool)
    depths = np.empty(asked.shape[::-1], asked.dtype)
    for experts, depth in zip(asked.T.copy(), depths, strict=True):
        used = first_place + experts
        places.take(used, out=depth)
        np.less(depth_of, depth[:, None], out=is_above)
        np.add(depth_of, is_above, out=depth_of)
        places[used] = 0
    return depths.T


Ranking = Callable[[Integers, Integers, int], Integers]
"""From each access' next use and the uses so far, both (streams, accesses), its expert's rank from
then on: of two experts, the one of higher rank makes room. The last argument is their number."""


def _frequency(next_use: Integers, uses: Integers, accesses: int) -> Integers:
    return -(uses * accesses + np.arange(accesses))


def _next_use(next_use: Integers, uses: Integers, accesses: int) -> Integers:
    return next_use


def _ranked_depths(asked: Integers, num_experts: int, ranking: Ranking) -> Integers:
    """Return depths in stacks whose order a ranking gives."""
    streams, accesses = asked.shape
    before, after = (np.empty((accesses, streams), np.int64) for _ in range(2))
    few = max(1, RANKED_AT_ONCE // max(1, accesses))
    for start in range(0, streams, few):
        part = slice(start, start + few)
        before[:, part], after[:, part] = _ranks(asked[part], ranking)
    return _depths(before, after, num_experts).T


def _ranks(asked: Integers, ranking: Ranking) -> tuple[Integers, Integers]:
    """Return (accesses, streams) ranks by which each access finds its expert, and leaves it.

    An expert that is not used again has its next use after the last access.
    """
    accesses = asked.shape[1]
    order = np.argsort(asked, axis=1, kind="stable")
    in_order = np.take_along_axis(asked, order, axis=1)
    is_first = np.ones(asked.shape, bool)
    is_first[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    next_use, uses, before = (np.full(asked.shape, accesses) for _ in range(3))
    later = np.where(is_first[:, 1:], accesses, order[:, 1:])
    np.put_along_axis(next_use, order[:, :-1], later, axis=1)
    place = np.arange(accesses)
    begin = np.maximum.accumulate(np.where(is_first, place, 0), axis=1)
    np.put_along_axis(uses, order, place - begin + 1, axis=1)
    after = ranking(next_use, uses, accesses)
    # in the order of experts, the access before is the one to the left
    left = np.where(is_first, EMPTY, np.roll(np.take_along_axis(after, order, axis=1), 1, axis=1))
    np.put_along_axis(before, order, left, axis=1)
    return before.T, after.T


def _depths(before: Integers, after: Integers, num_experts: int) -> Integers:
    """Return (accesses, streams) how deep in its stack each access finds its expert, if at all.

    The stack holds ranks in place of experts: the first n of them are what n slots hold. An
    expert that is used comes to the top with its new rank. Whatever it displaces falls until it
    meets a higher rank, which falls on in its place, down to where the expert was.

    Args:
        before: (accesses, streams) the rank by which the expert is found, or EMPTY.
        after: (accesses, streams) the rank that it has then.
        num_experts: how deep a stack is.
    """
    streams = before.shape[1]
    stack = np.full((streams, num_experts), EMPTY)
    places, first_place = stack.reshape(-1), num_experts * np.arange(streams)
    upper, lower, top = stack[:, :-1], stack[:, 1:], stack[:, 0]
    is_there = np.empty(stack.shape, bool)
    falling = np.empty(upper.shape, stack.dtype)
    depths = np.empty(before.shape, np.int32)
    for sought, new, depth in zip(before[:, :, None], after, depths, strict=True):
        np.equal(stack, sought, out=is_there)
        depth[:] = is_there.argmax(axis=1)
        places[first_place + depth] = EMPTY
        # of whole numbers the same as `maximum`, which takes four times as long here
        np.fmax.accumulate(upper, axis=1, out=falling)
        np.minimum(falling, lower, out=lower)
        top[:] = new
    depths[before == EMPTY] = num_experts
    return depths
