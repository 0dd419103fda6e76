"""Per-token sums of blocks of documents, and the three criteria of any weighting of the blocks.

Documents are dealt at random to blocks, at most 64, say. A token's occurrences and entropies are
summed within each, so the sums of any choice of blocks, with repetition or not, are one product.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gatehouse.reports.statistics.arrays import LEAST_TOKENS, Array

MEASURES = ("spearman", "low_entropy_share", "coverage")
"""The three criteria, in the order in which `Resampled.criteria` returns them."""


@dataclass(frozen=True)
class Blocks:
    """One layer's sums: (blocks, tokens) `occurrences` and `entropy_sum` (nats), float64."""

    token_id: NDArray[np.int64]
    occurrences: Array
    entropy_sum: Array

    @classmethod
    def of_rows(
        cls, block: ArrayLike, token_id: ArrayLike, occurrences: ArrayLike, entropy_sum: ArrayLike
    ) -> "Blocks":
        """Return the sums of rows, one for each block and token that occurs in it, in any order.

        Args:
            block: (rows,) number of the block; a number without rows does not count.
            token_id: (rows,) token; the columns are sorted by it.
            occurrences: (rows,) of the token in the block.
            entropy_sum: (rows,) nats, summed over these occurrences.
        """
        blocks, row = np.unique(np.asarray(block), return_inverse=True)
        tokens, column = np.unique(np.asarray(token_id), return_inverse=True)
        sums = np.zeros((2, blocks.size, tokens.size))
        for total, values in zip(sums, (occurrences, entropy_sum), strict=True):
            np.add.at(total, (row, column), np.asarray(values, dtype=np.float64))
        return cls(tokens.astype(np.int64), sums[0], sums[1])


class Resampled:
    """Occurrences of weighted blocks, ranked once for all the layers that share them.

    Args:
        occurrences: (blocks, tokens).
        weights: (samples, blocks) how often each block is in each sample, 0 for not at all. A
            token without an occurrence in a sample is left out of it.
        frequency_threshold: occurrences, exclusive.
    """

    def __init__(self, occurrences: Array, weights: Array, frequency_threshold: int) -> None:
        self._weights = weights
        self._frequency = weights @ occurrences
        self._absent = self._frequency == 0
        self.tokens = (~self._absent).sum(axis=1)
        """(samples,) distinct tokens."""
        self.occurrences = self._frequency.sum(axis=1)
        """(samples,) occurrences."""
        frequent = np.where(self._frequency > frequency_threshold, self._frequency, 0)
        self._frequent_share = frequent / self.occurrences[:, None]
        # ranks among all differ from those among the present by a constant, and centring removes it
        self._ranks = np.empty_like(self._frequency)
        for rank, row in zip(self._ranks, self._frequency, strict=True):
            rank[:] = stats.rankdata(row)
        present = ~self._absent
        means = self._ranks.sum(axis=1, where=present) / np.maximum(self.tokens, 1)
        self._ranks = np.where(present, self._ranks - means[:, None], 0)
        self._lengths = np.linalg.norm(self._ranks, axis=1)

    def criteria(self, entropy_sum: Array, entropy_threshold: float) -> Array:
        """Return (samples, 3): rho, share of tokens under the threshold, share of occurrences.

        Args:
            entropy_sum: (blocks, tokens) nats, of one layer.
            entropy_threshold: nats, exclusive.

        Returns:
            rho is nan in a sample of fewer than 3 tokens or of constants.
        """
        mean_entropy = self._weights @ entropy_sum
        with np.errstate(invalid="ignore"):
            mean_entropy /= self._frequency
        mean_entropy[self._absent] = np.inf
        low = mean_entropy < entropy_threshold
        shares = low.sum(axis=1) / np.maximum(self.tokens, 1)
        coverage = self._frequent_share.sum(axis=1, where=low)
        rhos = [self._spearman(sample, row) for sample, row in enumerate(mean_entropy)]
        return np.column_stack([rhos, shares, coverage])

    def _spearman(self, sample: int, mean_entropy: Array) -> float:
        tokens, length = int(self.tokens[sample]), self._lengths[sample]
        if tokens < LEAST_TOKENS or length == 0:
            return float("nan")
        order = np.argsort(mean_entropy)[:tokens]
        ordered = mean_entropy[order]
        if ordered[0] == ordered[-1]:
            return float("nan")
        if np.any(ordered[1:] == ordered[:-1]):
            ranks = stats.rankdata(ordered)
        else:
            ranks = np.arange(1.0, tokens + 1)
        ranks -= (tokens + 1) / 2
        return float(self._ranks[sample, order] @ ranks / (length * np.linalg.norm(ranks)))
