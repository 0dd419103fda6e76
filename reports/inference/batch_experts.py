"""How many experts of a layer the tokens of a batch select together, beside chance."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KINDS = {
    "tokens": "consecutive tokens",
    "sequences": "tokens at the same place of as many samples",
}
"""Kinds of batches of `fct_batch_experts` within a sentence."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BatchExperts:
    """The experts that batches of a phase select, mean of a run's layers.

    phase: prompt or generated.
    sizes: kind -> (sizes,) tokens of a batch, rising.
    experts: kind -> (sizes,) distinct experts of a layer.
    chance: kind -> (sizes,) experts that tokens meet which choose at random.
    """

    phase: str
    sizes: dict[str, NDArray[np.int64]]
    experts: dict[str, Floats]
    chance: dict[str, Floats]

    def sentence(self, num_experts: float) -> str | None:
        """Return what batches of the most telling size need; None if no size is of every kind.

        That is the size of every kind at which chance is nearest to half of the experts.

        Args:
            num_experts: how many a layer has, mean of the layers.
        """
        common = set.intersection(*(set(sizes.tolist()) for sizes in self.sizes.values())) - {1}
        if not common:
            return None
        chances = {
            int(size): float(chance)
            for kind, sizes in self.sizes.items()
            for size, chance in zip(sizes, self.chance[kind], strict=True)
        }
        size = min(sorted(common), key=lambda each: abs(chances[each] - num_experts / 2))
        told = []
        for kind, sizes in self.sizes.items():
            mean = float(self.experts[kind][np.searchsorted(sizes, size)])
            told.append(f"{size} {KINDS[kind]} select {mean:.2f}")
        first, *others = told
        first = f"{first} of a layer's {num_experts:g} experts"
        chosen = f"as many tokens that choose at random, {chances[size]:.2f}"
        return f"{', '.join([first, *others])}; {chosen}."


def batches(batch_experts: pd.DataFrame) -> list[BatchExperts]:
    """Return the batches of each phase, in the order of the frame, if there are any of two tokens.

    A kind that has none, as of the tokens of one sample alone, is left out.

    Args:
        batch_experts: `reports.marts.needed_experts.batch_experts`.
    """
    found = []
    for phase, rows in batch_experts.groupby("phase", sort=False):
        parts = {kind: rows[rows["batch_of"] == kind] for kind in KINDS}
        known = {kind: part for kind, part in parts.items() if part["size"].max() > 1}
        if not known:
            continue
        found.append(
            BatchExperts(
                phase=str(phase),
                sizes={kind: part["size"].to_numpy(np.int64) for kind, part in known.items()},
                experts={kind: _floats(part["mean_experts"]) for kind, part in known.items()},
                chance={kind: _floats(part["uniform_experts"]) for kind, part in known.items()},
            )
        )
    return found


def _floats(column: pd.Series) -> Floats:
    return column.to_numpy(np.float64)
