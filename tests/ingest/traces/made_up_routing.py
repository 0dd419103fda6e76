"""Routing that keeps every law, for tests that break one."""

from typing import Any

import numpy as np

from gatehouse.ingest.traces.sequence import Layout, RoutedSequence

EXPERTS, TOP_K, BLOCKS = 32, 4, 6
ALL_MOE = Layout(tuple(range(BLOCKS)), BLOCKS, (EXPERTS,) * BLOCKS, (TOP_K,) * BLOCKS)
DENSE_FIRST = Layout(tuple(range(1, BLOCKS + 1)), BLOCKS + 1, ALL_MOE.num_experts, ALL_MOE.top_k)


def choices(
    tokens: int, layers: int = BLOCKS, experts: int = EXPERTS, k: int = TOP_K
) -> np.ndarray:
    """Return [tokens, layers, k] uint8, different experts in each place, at random."""
    scores = np.random.default_rng(tokens).random((tokens, layers, experts))
    return np.argsort(scores, axis=2)[..., :k].astype(np.uint8)


def routed(experts: np.ndarray, **fields: Any) -> RoutedSequence:
    """Return a sequence with a different token id for each row, and one for the last token."""
    ids = {"token_ids": 100 + np.arange(len(experts) + 1)}
    return RoutedSequence("responses.jsonl:3", experts=experts, **ids | fields)
