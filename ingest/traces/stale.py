"""Stale rows: one token's routing that an engine handed out again under other tokens."""

from math import comb, prod

import numpy as np

MANY = 8
"""Different tokens that do not share all of their experts in all layers."""

UNLIKELY = 1e-6
"""Runs of a row that chance would bring about, fewer than which are no chance."""

BEYOND_CHANCE = 2**40
"""A model with this many possible rows has no row twice by chance, wherever they are."""


def stale_rows(
    experts: np.ndarray, token_ids: np.ndarray, num_experts: tuple[int, ...]
) -> np.ndarray | None:
    """Return the rows, in order, that are the same under 8 or more different tokens, or None.

    Of a small model some rows are the same by chance. There they count only as a run, if rows
    that are as frequent as this one is elsewhere would hardly ever make it.

    Args:
        experts: [T, L, k] ids.
        token_ids: [T].
        num_experts: of each of the L layers.
    """
    rows = _numbered(experts)
    pairs = np.unique(np.stack([rows, _numbers(token_ids)]), axis=1)
    tokens_of_row = np.bincount(pairs[0])
    most = int(tokens_of_row.argmax())
    if tokens_of_row[most] < MANY:
        return None
    possible = prod(comb(number, experts.shape[2]) for number in num_experts)
    if possible >= BEYOND_CHANCE:
        return np.flatnonzero(rows == most)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, end in zip(starts, np.append(starts[1:], len(rows)), strict=True):
        different = len(np.unique(token_ids[start:end])) if end - start >= MANY else 0
        elsewhere = np.count_nonzero(rows == rows[start]) - (end - start)
        share = (elsewhere + 1) / (len(rows) - (end - start) + possible)
        if different >= MANY and len(rows) * share ** (different - 1) < UNLIKELY:
            return np.arange(start, end)
    return None


def _numbered(experts: np.ndarray) -> np.ndarray:
    """Return a number for each row [T], the same for rows that are the same."""
    flat = experts.reshape(len(experts), -1).astype(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, flat.shape[1], dtype=np.uint64)
    return _numbers(flat @ factors)


def _numbers(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]
