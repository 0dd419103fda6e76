"""Whether parts of a run's text, and other rankings, would keep the same experts of a layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom

from gatehouse.warehouse.plain_text import counted

MEASURES = {"selections": "selections", "gate_mass": "gate mass", "reap": "REAP"}
"""What experts are ranked by, as charts and sentences call it."""

HALF = 0.5
"""The share of the experts that the sentences are about."""

FIRST, SECOND = "first 1/2", "second 1/2"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Halves:
    """How two halves of the text, which share no sample, agree on what a measure keeps.

    text_share: the share of the run's selections that the second half has.
    layers, same_layers: how many layers there are, and in how many both keep the same experts.
    jaccard: shared experts over all that one of them keeps, mean of the layers.
    """

    text_share: float
    layers: int
    same_layers: int
    jaccard: float


@dataclass(frozen=True)
class KeepSets:
    """The experts that parts of the text keep, if a layer keeps so many of them by a measure.

    measure: one of MEASURES.
    keep_share: the share of a layer's experts that is kept.
    text_shares: (parts,) rising, of the run's selections; the last one is 1, all text.
    jaccard: (parts,) of what the part keeps with what all text keeps, mean of the layers.
    halves: None where the text has no two halves.
    """

    measure: str
    keep_share: float
    text_shares: Floats
    jaccard: Floats
    halves: Halves | None


def keep_sets(frame: pd.DataFrame) -> list[KeepSets]:
    """Return the keep sets by share kept and measure, measures in the order of MEASURES.

    Args:
        frame: `reports.marts.needed_experts.keep_sets`.
    """
    found = []
    for keep_share, kept in frame.groupby("keep_share"):
        for measure in MEASURES:
            rows = kept[kept["measure"] == measure]
            of_all = rows[rows["reference"] == "all"].sort_values("text_share")
            if len(of_all):
                found.append(
                    KeepSets(
                        measure=measure,
                        keep_share=float(str(keep_share)),
                        text_shares=of_all["text_share"].to_numpy(np.float64),
                        jaccard=of_all["jaccard"].to_numpy(np.float64),
                        halves=_halves(rows[rows["part"] == SECOND]),
                    )
                )
    return found


def _halves(second: pd.DataFrame) -> Halves | None:
    if second.empty:
        return None
    row = second.iloc[0]
    return Halves(
        float(row["text_share"]), int(row["layers"]), int(row["same_layers"]), float(row["jaccard"])
    )


def chance_jaccard(num_experts: Sequence[int], keep_share: float) -> float:
    """Return the Jaccard index to expect of two sets of experts drawn at random, mean of layers.

    Args:
        num_experts: of each layer.
        keep_share: the share of a layer's experts that each set has, rounded up to whole ones.
    """
    expected = []
    for experts in num_experts:
        kept = int(np.ceil(keep_share * experts))
        shared = np.arange(kept + 1)
        expected.append(hypergeom(experts, kept, kept).pmf(shared) @ (shared / (2 * kept - shared)))
    return float(np.mean(expected))


def halves_agree(found: Sequence[KeepSets], num_experts: Sequence[int]) -> str | None:
    """Return whether the choice of half of the experts depends on the half of the text.

    Args:
        found: `keep_sets`.
        num_experts: of each layer.

    Returns:
        One sentence; None where the text has no two halves.
    """
    halves = {
        each.measure: each.halves
        for each in found
        if each.keep_share == HALF and each.halves is not None
    }
    if not halves:
        return None
    told = []
    for measure, half in halves.items():
        same = f"{half.same_layers} of {counted(half.layers, 'layer')}"
        told.append(f"by {MEASURES[measure]} in {same} (Jaccard {half.jaccard:.2f})")
    unsettled = [
        MEASURES[measure] for measure, half in halves.items() if half.same_layers < half.layers
    ]
    verdict = "no choice depends on which half it is learned from"
    if unsettled:
        verdict = f"half of the text does not settle the choice by {_listed(unsettled)}"
    chance = chance_jaccard(num_experts, HALF)
    return (
        "The two halves of the text, which share no sample, keep the same half of the experts "
        f"{', '.join(told)}; of two random choices the Jaccard index is {chance:.2f}: {verdict}."
    )


def rankings_agree(rankings: pd.DataFrame) -> str | None:
    """Return whether two measures keep the same half of the experts on all text, in one sentence.

    Args:
        rankings: `reports.marts.needed_experts.rankings`.

    Returns:
        None where only one measure is known.
    """
    told = [
        f"{MEASURES[row['measure']]} and {MEASURES[row['other_measure']]} in "
        f"{row['same_layers']} of {counted(row['layers'], 'layer')} (Jaccard {row['jaccard']:.2f})"
        for row in rankings.to_dict("records")
    ]
    return f"On all text the same half is kept by {', by '.join(told)}." if told else None


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
