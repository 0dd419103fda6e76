"""Streams in which a cache is asked for experts: by layer, through all layers, or at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Accesses:
    """Streams of experts, each served by an empty cache of its own, in the order of the tokens.

    A token's experts are asked for one after another, in the order given.

    experts: (streams, tokens, top_k) numbers below `num_experts`, distinct in each token; what
        stands after a stream's last token does not matter.
    lengths: (streams,) tokens of each stream.
    num_experts: how many there are, so how many slots hold all of them.
    """

    experts: Integers
    lengths: Integers
    num_experts: int

    @property
    def is_over(self) -> NDArray[np.bool_]:
        """Return (streams, tokens) whether it stands after the stream's last token."""
        return np.arange(self.experts.shape[1]) >= np.asarray(self.lengths)[:, None]

    @property
    def counts(self) -> Integers:
        """Return (streams,) accesses, each of them a hit or a miss."""
        return np.asarray(self.lengths) * self.experts.shape[2]

    @property
    def uses(self) -> Integers:
        """Return (streams, num_experts) accesses to each expert."""
        streams = len(self.experts)
        cells = self.experts.astype(np.int64) + self.num_experts * np.arange(streams)[:, None, None]
        found = np.bincount(cells[~self.is_over].ravel(), minlength=streams * self.num_experts)
        return found.reshape(streams, self.num_experts)


def by_layer(documents: Sequence[Integers], num_experts: int) -> Accesses:
    """Return a stream for each layer of each document, for caches that serve one layer each.

    Args:
        documents: each (tokens, layers, top_k), with the same layers and top_k.
        num_experts: of one layer.

    Returns:
        Streams of the first document's layers, then of the second's, and so on.
    """
    return side_by_side([layer for one in documents for layer in one.swapaxes(0, 1)], num_experts)


def through_layers(documents: Sequence[Integers], num_experts: int) -> Accesses:
    """Return a stream for each document, for one cache that serves all layers as they are run.

    A token passes through all layers before the next one begins, as in decoding. Expert e of
    layer l, counted from 0, has the number l * num_experts + e.

    Args:
        documents: each (tokens, layers, top_k), with the same layers and top_k.
        num_experts: of one layer.

    Returns:
        Streams whose tokens are the pairs of a token and a layer, in that order.
    """
    layers = documents[0].shape[1]
    first = num_experts * np.arange(layers)[:, None]
    streams = [(one + first).reshape(-1, one.shape[2]) for one in documents]
    return side_by_side(streams, num_experts * layers)


def random_router(accesses: Accesses, seed: int = 0) -> Accesses:
    """Return streams of the same shape whose tokens choose uniformly among all experts.

    Source: Floyd's sampling without replacement, in Bentley (1987), Programming pearls.
    """
    random = np.random.default_rng(seed)
    streams, tokens, top_k = accesses.experts.shape
    chosen = np.empty((streams, tokens, top_k), np.int32)
    for slot, newest in enumerate(range(accesses.num_experts - top_k, accesses.num_experts)):
        drawn = random.integers(0, newest + 1, (streams, tokens))
        is_taken = (chosen[..., :slot] == drawn[..., None]).any(axis=2)
        chosen[..., slot] = np.where(is_taken, newest, drawn)
    return Accesses(random.permuted(chosen, axis=2), accesses.lengths, accesses.num_experts)


def side_by_side(streams: Sequence[Integers], num_experts: int) -> Accesses:
    """Return streams of different lengths, each (tokens, top_k) with the same top_k."""
    lengths = np.array([len(stream) for stream in streams])
    experts = np.zeros((len(streams), lengths.max(), streams[0].shape[1]), np.int32)
    for row, stream in zip(experts, streams, strict=True):
        row[: len(stream)] = stream
    return Accesses(experts, lengths, num_experts)
