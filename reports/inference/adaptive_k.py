"""How many experts a token would run if it dropped those that matter least to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KEPT = 0.95
"""The share of the gate mass that the sentence asks for."""

RULES = {
    "weight": "if those of a weight below {threshold:g} were dropped",
    "entropy": "if a token whose entropy is below {threshold:g} ln E ran its first choice alone",
}
"""Rules of `fct_adaptive_k` within a sentence, in the order of their curves."""

UNSEEN = (
    "What that costs the model's quality is not seen here: replaying text with fewer experts "
    "measures it (gatehouse replay)."
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AdaptiveRule:
    """What is left under a rule by its threshold, mean of a run's layers.

    name: weight, or entropy as a share of ln E.
    thresholds: (thresholds,) rising.
    experts: (thresholds,) how many experts of a layer a token runs.
    retained: (thresholds,) the share of the gate mass that they have.
    all_experts: how many run without the rule.
    """

    name: str
    thresholds: Floats
    experts: Floats
    retained: Floats
    all_experts: float

    @property
    def fewest(self) -> int | None:
        """Return the place of the fewest experts that keep KEPT; None if they are all experts."""
        enough = np.flatnonzero(self.retained >= KEPT)
        if not enough.size:
            return None
        place = int(enough[np.argmin(self.experts[enough])])
        return place if self.experts[place] < self.all_experts else None


def adaptive_rules(adaptive_k: pd.DataFrame) -> list[AdaptiveRule]:
    """Return the rules that all of the layers know which tell their weights.

    Args:
        adaptive_k: `reports.marts.needed_experts.adaptive_k`.
    """
    most = adaptive_k["layers"].max()
    found = []
    for name in RULES:
        rows = adaptive_k[(adaptive_k["rule"] == name) & (adaptive_k["layers"] == most)]
        if len(rows):
            found.append(
                AdaptiveRule(
                    name=name,
                    thresholds=rows["threshold"].to_numpy(np.float64),
                    experts=rows["mean_experts"].to_numpy(np.float64),
                    retained=rows["retained_gate_mass"].to_numpy(np.float64),
                    all_experts=float(rows["all_experts"].iloc[0]),
                )
            )
    return found


def fewest_that_keep(rules: Sequence[AdaptiveRule]) -> str:
    """Return which thresholds run the fewest experts and keep KEPT of the gate mass.

    Args:
        rules: `adaptive_rules`, not empty.
    """
    told = []
    for rule in rules:
        place = rule.fewest
        if place is not None:
            how = RULES[rule.name].format(threshold=rule.thresholds[place])
            told.append(f"{rule.experts[place]:.2f} {how} ({rule.retained[place]:.1%} kept)")
    if not told:
        return f"No threshold that was tried drops experts and keeps {KEPT:.0%} of the gate mass."
    return (
        f"In place of {rules[0].all_experts:.2f} experts of a layer a token would run "
        f"{', or '.join(told)}: of the thresholds that were tried, the fewest experts that keep "
        f"{KEPT:.0%} of the gate mass. {UNSEEN}"
    )
