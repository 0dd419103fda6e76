"""A made-up run's blocks of documents: the counts of its marts, dealt out."""

import numpy as np

from gatehouse.reports.marts import Marts
from gatehouse.reports.statistics import Blocks


def made_up_blocks(marts: Marts, layer: int, blocks: int = 64) -> Blocks:
    """Deal a layer's occurrences to blocks, the same in every layer; entropies keep their sums."""
    tokens = marts.tokens[marts.tokens["moe_index"] == layer].sort_values("token_id")
    frequency, entropy = tokens["frequency"].to_numpy(), tokens["mean_entropy"].to_numpy()
    dealt = np.random.default_rng(99).multinomial(frequency, np.full(blocks, 1 / blocks)).T
    noise = np.random.default_rng(layer).normal(0, 0.05, dealt.shape) * np.sqrt(dealt)
    noise -= dealt * (noise.sum(axis=0) / frequency)
    rows, columns = dealt.nonzero()
    return Blocks.of_rows(
        rows,
        tokens["token_id"].to_numpy()[columns],
        dealt[rows, columns],
        (dealt * entropy + noise)[rows, columns],
    )
