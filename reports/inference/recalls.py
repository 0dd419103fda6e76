"""How many of a token's experts predictions name, by how many experts are loaded ahead."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.warehouse.plain_text import counted

NAMES = {
    "previous_token": "token before",
    "layer_before": "layer before",
    "static_train": "most used in train",
    "static_prompt": "most used in prompt",
    "token": "token id",
    "bigram": "bigram of ids",
}
"""Predictors as charts call them."""

WORDS = {
    "previous_token": "the experts of the token before",
    "layer_before": "the layer before",
    "static_train": "the experts used most in train",
    "static_prompt": "the experts used most in the prompt",
    "token": "the token's id",
    "bigram": "the id with the one before",
}
"""Predictors within a sentence."""

FORESEEN = "previous_token"
"""The predictor that is scored at several horizons."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recalls:
    """The recall of predictions in a phase, over all MoE layers, as a share from 0 to 1.

    phase: prompt or generated.
    budgets: (budgets,) experts of each layer that are loaded ahead; a recall is nan where no layer
        that is predicted has the budget.
    chance: (budgets,) the recall of experts that are loaded at random.
    by_predictor: predictor -> (budgets,) at its shortest horizon.
    by_horizon: tokens ahead -> (budgets,) of FORESEEN.
    """

    phase: str
    budgets: NDArray[np.integer]
    chance: Floats
    by_predictor: dict[str, Floats]
    by_horizon: dict[int, Floats]

    def sentence(self, top_k: int) -> str:
        """Return what each predictor names if as many experts are loaded as a token needs.

        Args:
            top_k: how many that is, of the budgets.
        """
        place = int(np.searchsorted(self.budgets, top_k))
        found = {name: float(values[place]) for name, values in self.by_predictor.items()}
        ranked = sorted(found, key=lambda name: -found[name])
        told = ", ".join(f"{found[name]:.1%} by {WORDS[name]}" for name in ranked)
        return (
            f"With {counted(top_k, 'expert')} of each layer loaded ahead, as many as a token "
            f"selects, so many of its experts are foretold: {told}, and {self.chance[place]:.1%} "
            "by chance."
        )


def recalls(predictions: pd.DataFrame) -> list[Recalls]:
    """Return the recalls of each phase, predictors in the order of NAMES.

    Args:
        predictions: `reports.marts.caches.predictions`.
    """
    found = []
    for phase, rows in predictions.groupby("phase", sort=False):
        budgets = np.sort(rows["budget"].unique())
        curves = {
            (str(name), int(str(horizon))): part.set_index("budget")["recall"]
            .reindex(budgets)
            .to_numpy(float)
            for (name, horizon), part in rows.groupby(["predictor", "horizon"])
        }
        shortest: dict[str, int] = {}
        for predictor, horizon in sorted(curves):
            shortest.setdefault(predictor, horizon)
        found.append(
            Recalls(
                phase=str(phase),
                budgets=budgets,
                chance=rows.groupby("budget")["chance_recall"].mean().to_numpy(np.float64),
                by_predictor={
                    name: curves[name, shortest[name]] for name in NAMES if name in shortest
                },
                by_horizon={
                    horizon: values
                    for (name, horizon), values in curves.items()
                    if name == FORESEEN
                },
            )
        )
    return found


def untold(predictors: dict[str, Floats]) -> str:
    """Return a sentence on predictions that learn from what the run has not; empty if none does."""
    if "static_train" not in predictors:
        return "No prediction learns from a train split: the run has none, or no other text."
    if "token" not in predictors:
        return "The run has no token ids, so that no prediction is by the id."
    return ""
