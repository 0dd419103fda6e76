"""Verdict, evidence and advice for every MoE layer of a run, for their average, or for a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports import statistics
from gatehouse.reports.marts import Marts
from gatehouse.reports.verdict import evidence
from gatehouse.reports.verdict.advice import advice
from gatehouse.reports.verdict.evidence import Evidence
from gatehouse.reports.verdict.strength import strength
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.reports.verdict.usable import NOTHING, Excluded, usable_rows
from gatehouse.reports.verdict.validation import Validation, validate


@dataclass(frozen=True)
class Assessment:
    """One verdict with everything that is reported beside it.

    `layer` is an index among the MoE layers; None for a run's average over its layers, or for a
    table that does not give it. `frame` has the per-token statistics that were validated.
    """

    layer: int | None
    frame: pd.DataFrame
    validation: Validation
    evidence: Evidence
    zipf: statistics.ZipfFit
    advice: tuple[str, ...]

    @cached_property
    def strength(self) -> str:
        """How strong the evidence for the verdict is, in one sentence."""
        return strength(self.validation, self.evidence)


def assess_table(
    frame: pd.DataFrame,
    thresholds: Thresholds,
    layer: int | None = None,
    excluded: Excluded = NOTHING,
) -> Assessment:
    """Assess per-token statistics from any source.

    Args:
        frame: usable rows (`reports.verdict.usable.usable_rows`).
        thresholds: of the fast path.
        layer: index among the MoE layers, if the table gives it.
        excluded: the rows that were not usable.
    """
    validation = validate(frame, thresholds, excluded=excluded)
    found = evidence.of_table(frame)
    zipf = statistics.fit_zipf(np.append(frame["frequency"].to_numpy(), excluded.frequency))
    return Assessment(
        layer, frame, validation, found, zipf, tuple(advice(validation, found, frame, {}))
    )


def assess_run(
    marts: Marts,
    blocks_of: Callable[[int], statistics.Blocks],
    thresholds: Thresholds,
    chosen: Sequence[int] | None = None,
) -> tuple[list[Assessment], Assessment | None]:
    """Assess MoE layers of a run; return them in order, and their average.

    There is no average of layers that score in different ways: the entropy of a softmax over the
    experts and that of normalised sigmoids are not of one kind.

    Args:
        marts: the run's frames.
        blocks_of: index of a MoE layer -> its sums by blocks of documents.
        thresholds: of the fast path.
        chosen: indices of MoE layers; None for all.

    Raises:
        GatehouseError: the run has fewer than 3 distinct tokens.
    """
    ranked = marts.frequency_rank
    special = set(ranked.loc[ranked["is_special"], "token_id"])
    names = ranked[["token_id", "token_str", "mean_position"]]
    frames, validations = {}, {}
    for layer in marts.layers["moe_index"].astype(int):
        frames[layer], excluded = usable_rows(_named(marts, layer, names), f"MoE layer {layer}")
        validations[layer] = validate(
            frames[layer], thresholds, excluded=excluded, special_token_ids=special
        )
    layers = sorted(frames) if chosen is None else list(chosen)
    for layer in layers:
        frames[layer] = frames[layer].assign(
            random_consistency=_chance(marts, layer, frames[layer])
        )
    average = evidence.average_frame([frames[layer] for layer in layers])
    beside, beside_average = evidence.of_run(marts, frames, validations, blocks_of, layers, average)
    zipf = statistics.fit_zipf(ranked["frequency"].to_numpy())

    def assessment(
        layer: int | None, frame: pd.DataFrame, validation: Validation, found: Evidence
    ) -> Assessment:
        others = {index: each for index, each in validations.items() if index != layer}
        what_to_try = tuple(advice(validation, found, frame, others))
        return Assessment(layer, frame, validation, found, zipf, what_to_try)

    assessed = [
        assessment(layer, frames[layer], validations[layer], found)
        for layer, found in zip(layers, beside, strict=True)
    ]
    if marts.layers.set_index("moe_index").loc[layers, "scoring"].nunique() > 1:
        return assessed, None
    of_average = validate(average, thresholds, special_token_ids=special)
    return assessed, assessment(None, average, of_average, beside_average)


def untested_tokens(marts: Marts) -> pd.DataFrame:
    """Return per-token statistics, as in `Assessment.frame`, of a run that is not tested."""
    names = marts.frequency_rank[["token_id", "token_str", "mean_position"]]
    frames = []
    for layer in marts.layers["moe_index"].astype(int):
        frame = _named(marts, layer, names)
        is_ranked = len(frame) > 0 and bool(frame["top_expert"].notna().all())
        chance = _chance(marts, layer, frame) if is_ranked else np.nan
        frames.append(frame.assign(random_consistency=chance))
    return pd.concat(frames, ignore_index=True)


def _named(marts: Marts, layer: int, names: pd.DataFrame) -> pd.DataFrame:
    """Return a layer's per-token statistics with their tokens."""
    rows = marts.tokens[marts.tokens["moe_index"] == layer]
    return rows.merge(names, on="token_id", how="left", validate="one_to_one")


def _chance(marts: Marts, layer: int, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return (tokens,) consistency of a random router with the layer's own load."""
    load = marts.expert_load[marts.expert_load["moe_index"] == layer]
    return statistics.random_consistency(
        frame["frequency"].to_numpy(), load["first_choice_share"].to_numpy()
    )
