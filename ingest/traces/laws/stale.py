"""Stale rows: one token's routing that an engine handed out again under other tokens."""

from math import comb, prod

import numpy as np

MANY_ROWS = 8
DIFFERENT_TOKENS = 4
"""As many rows, of as many tokens, are not the same in all layers."""

UNLIKELY = 1e-6
"""Runs of a row that chance would bring about, fewer than which are no chance."""

BEYOND_CHANCE = 2**40
"""A model with this many possible rows has no row twice by chance, wherever they are."""


def stale_rows(
    experts: np.ndarray, token_ids: np.ndarray, num_experts: tuple[int, ...]
) -> np.ndarray | None:
    """Return the 8 or more rows, in order, that are the same under different tokens, or None.

    Of a small model some rows are the same by chance. There they count only as a run, if rows
    that are as frequent as this one is elsewhere would hardly ever make it.

    Args:
        experts: [T, L, k] ids.
        token_ids: [T].
        num_experts: of each of the L layers.
    """
    rows = _numbered(experts)
    possible = prod(comb(number, experts.shape[2]) for number in num_experts)
    if possible >= BEYOND_CHANCE:
        candidates = (np.flatnonzero(rows == row) for row in _frequent(rows))
        return next((found for found in candidates if _different(token_ids[found])), None)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    lengths = np.diff(starts, append=len(rows))
    is_long = lengths >= MANY_ROWS
    for start, length in zip(starts[is_long], lengths[is_long], strict=True):
        found = np.arange(start, start + length)
        different = _different(token_ids[found])
        elsewhere = np.count_nonzero(rows == rows[start]) - length
        share = (elsewhere + 1) / (len(rows) - length + possible)
        if different and len(rows) * share ** (different - 1) < UNLIKELY:
            return found
    return None


def _frequent(rows: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(rows) >= MANY_ROWS)


def _different(token_ids: np.ndarray) -> int:
    """Return the number of different tokens, 0 where it is small."""
    number = len(np.unique(token_ids))
    return number if number >= DIFFERENT_TOKENS else 0


def _numbered(experts: np.ndarray) -> np.ndarray:
    """Return a number for each row [T], the same for rows that are the same."""
    flat = experts.reshape(len(experts), -1).astype(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, flat.shape[1], dtype=np.uint64)
    return np.unique(flat @ factors, return_inverse=True)[1]
