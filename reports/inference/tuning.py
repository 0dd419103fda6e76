"""How many experts of a layer ESFT would train for all text, and for each domain of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

RELEVANCES = {"gate": "gate score", "selection": "token share"}
"""ESFT's two measures of an expert's relevance (Wang et al., 2024, arXiv 2407.01906)."""

SHARE = 0.2
"""The p of the sentence, ESFT's for token shares."""


@dataclass(frozen=True)
class Trained:
    """How many experts of a layer are trained: mean, fewest and most of the layers."""

    mean: float
    fewest: int
    most: int


@dataclass(frozen=True)
class TunedText:
    """The experts that ESFT would train for a text.

    domain: None for all of the run's text.
    trained: (relevance, p) -> how many; without relevances that the run does not tell.
    """

    domain: str | None
    trained: dict[tuple[str, float], Trained]


def tuned_texts(tuning: pd.DataFrame) -> list[TunedText]:
    """Return all text, and its domains if there are several.

    Args:
        tuning: `reports.marts.needed_experts.tuning`.
    """
    most = tuning["layers"].max()
    whole = TunedText(None, _trained(tuning[tuning["domain"].isna()], most))
    if not whole.trained:
        return []
    domains = [
        TunedText(str(domain), _trained(rows, most)) for domain, rows in tuning.groupby("domain")
    ]
    return [whole, *domains] if len(domains) > 1 else [whole]


def _trained(rows: pd.DataFrame, layers: int) -> dict[tuple[str, float], Trained]:
    return {
        (row["relevance"], row["share"]): Trained(
            row["mean_experts"], row["min_experts"], row["max_experts"]
        )
        for row in rows.to_dict("records")
        if row["layers"] == layers or row["relevance"] == "selection"
    }


def even_shares(num_experts: Sequence[int], share: float) -> float:
    """Return how many experts of equal shares reach a share, mean of the layers.

    Args:
        num_experts: of each layer.
        share: p.
    """
    return float(np.mean([np.ceil(round(share * experts, 9)) for experts in num_experts]))


def experts_to_train(texts: Sequence[TunedText], num_experts: Sequence[int]) -> str:
    """Return how many experts reach SHARE of the selections, on all text and over the domains.

    Args:
        texts: `tuned_texts`, not empty.
        num_experts: of each layer.
    """
    whole, *domains = texts
    key = ("selection", SHARE)
    told = f"{whole.trained[key].mean:.2f} experts of a layer on all text"
    known = [each for each in domains if key in each.trained]
    if known:
        least, most = (pick(known, key=lambda each: each.trained[key].mean) for pick in (min, max))
        low, high = least.trained[key].mean, most.trained[key].mean
        told += (
            f", {low:.2f} on each domain"
            if low == high
            else f", and from {low:.2f} ({least.domain}) to {high:.2f} ({most.domain}) on a domain"
        )
    even = even_shares(num_experts, SHARE)
    return (
        f"By token share up to {SHARE:g} ESFT would train {told}; if all experts were selected "
        f"alike, {even:.2f}."
    )
