"""The evidence beside a verdict: what a referee would ask about its three numbers.

A run's evidence comes from the partial aggregates of its documents' blocks. For a file of per-token
statistics it comes from the table alone, and what a table cannot show is None.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from gatehouse.reports import statistics
from gatehouse.reports.marts import Marts
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.reports.verdict.validation import Validation
from gatehouse.warehouse.errors import GatehouseError

SPECIFIED_EXPERTS = 8
"""The router that the specification's thresholds were written for, Mixtral's, has so many."""


@dataclass(frozen=True)
class TableScore:
    """A lookup table of the train split on held-out documents, chosen by a pair of thresholds."""

    thresholds: Thresholds
    coverage: float | None
    set_agreement: float | None
    retained_gate_mass: float | None


@dataclass(frozen=True)
class ScaledThreshold:
    """Both shares with the entropy threshold as the same part of the range as among 8 experts.

    Entropy reaches ln(experts), so half a nat is a quarter of the range of 8 experts, for which it
    was specified, and an eighth of that of 64. `threshold` is the specified one times
    ln(experts) / ln 8, in nats: the same threshold for the entropy divided by ln(experts).
    """

    experts: int
    threshold: float
    low_entropy_share: float
    coverage: float


@dataclass(frozen=True)
class Evidence:
    """What is reported beside one verdict; None where it cannot be determined.

    `permutation`: rho when entropies are permuted among the tokens. `holm_log10_p`: p corrected
    for the run's MoE layers. `partial_spearman`: rho with the mean position of a token held fixed.
    `bootstrap`: intervals over documents. `sample_sizes`: the three numbers on fewer documents.
    `consistency`, `specialisation`: of first choices and of all k choices, plain, held-out and by
    chance. `table`: the fast path on held-out documents. `scaled`: both shares with a threshold
    that follows the number of experts.
    """

    kendall: float | None
    partial_spearman: float | None
    minima: list[statistics.MinimumFrequency]
    permutation: statistics.PermutationNull | None
    holm_log10_p: float | None = None
    bootstrap: statistics.Bootstrapped | None = None
    sample_sizes: tuple[statistics.SampleSize, ...] = ()
    consistency: statistics.UnbiasedConsistency | None = None
    specialisation: statistics.UnbiasedConsistency | None = None
    table: TableScore | None = None
    scaled: ScaledThreshold | None = None


def of_table(frame: pd.DataFrame) -> Evidence:
    """Return the evidence that per-token statistics alone can give.

    Args:
        frame: usable rows of one MoE layer (`reports.verdict.usable.usable_rows`).
    """
    frequency = frame["frequency"].to_numpy(float)
    entropy = frame["mean_entropy"].to_numpy(float)
    (null,) = statistics.permutation_nulls(frequency, entropy[None])
    return replace(_of_ranks(frame), permutation=null)


def of_run(
    marts: Marts,
    frames: Mapping[int, pd.DataFrame],
    validations: Mapping[int, Validation],
    blocks_of: Callable[[int], statistics.Blocks],
    chosen: Sequence[int],
    average: pd.DataFrame,
) -> tuple[list[Evidence], Evidence]:
    """Return the evidence of the chosen MoE layers, and of their average.

    Args:
        marts: the run.
        frames: per-token statistics of the chosen MoE layers, with `mean_position` and
            `random_consistency`; the same tokens in the same order.
        validations: of every MoE layer.
        blocks_of: index of a MoE layer -> its sums by blocks of documents.
        chosen: indices of MoE layers.
        average: `average_frame` of their frames.
    """
    every = (*(frames[layer] for layer in chosen), average)
    entropies = [each["mean_entropy"].to_numpy(float) for each in every]
    nulls = statistics.permutation_nulls(average["frequency"].to_numpy(float), np.stack(entropies))
    intervals, sizes = _resampled(validations[chosen[0]], blocks_of, chosen)
    corrected = dict(
        zip(
            validations,
            statistics.holm([each.correlation.log10_p for each in validations.values()]),
            strict=True,
        )
    )
    found = [
        replace(
            _of_ranks(frames[layer]),
            permutation=null,
            holm_log10_p=corrected[layer],
            bootstrap=interval,
            sample_sizes=tuple(size),
            **_of_layer(marts, layer, frames[layer], validations[layer]),
        )
        for layer, null, interval, size in zip(
            chosen, nulls[:-1], intervals.layers, sizes[:-1], strict=True
        )
    ]
    return found, replace(
        _of_ranks(average),
        permutation=nulls[-1],
        bootstrap=intervals.model,
        sample_sizes=tuple(sizes[-1]),
    )


def average_frame(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return each token's values averaged over the layers' frames, which hold the same tokens.

    Raises:
        GatehouseError: the frames hold different tokens.
    """
    first = frames[0]
    if not all(first["token_id"].equals(frame["token_id"]) for frame in frames):
        raise GatehouseError(
            "the run's MoE layers hold different tokens: `gatehouse verify --repair` builds the "
            "marts afresh"
        )
    average = first.copy()
    for name in ("mean_entropy", "mean_confidence", "routing_consistency"):
        average[name] = np.mean([frame[name].to_numpy(float) for frame in frames], axis=0)
    return average


def _of_ranks(frame: pd.DataFrame) -> Evidence:
    """Return the rank correlations; a table made elsewhere has no positions."""
    frequency = frame["frequency"].to_numpy(float)
    entropy = frame["mean_entropy"].to_numpy(float)
    return Evidence(
        kendall=statistics.kendall(frequency, entropy),
        partial_spearman=statistics.partial_spearman(
            frequency, entropy, frame["mean_position"].to_numpy(float)
        )
        if "mean_position" in frame
        else None,
        minima=statistics.spearman_by_minimum(frequency, entropy),
        permutation=None,
    )


def _resampled(
    validation: Validation, blocks_of: Callable[[int], statistics.Blocks], chosen: Sequence[int]
) -> tuple[statistics.BootstrappedRun, list[list[statistics.SampleSize]]]:
    """Return the intervals, and the sample sizes of each layer and of the layers' average."""
    thresholds = validation.thresholds.frequency, validation.thresholds.entropy
    sizes, total = [], None

    def each_once() -> Iterator[statistics.Blocks]:
        nonlocal total
        # one layer in memory at a time
        for layer in chosen:
            blocks = blocks_of(layer)
            sizes.append(statistics.rarefaction(blocks, *thresholds))
            added = blocks.entropy_sum if total is None else total.entropy_sum + blocks.entropy_sum
            total = replace(blocks, entropy_sum=added)
            yield blocks

    intervals = statistics.bootstrap(each_once(), *thresholds)
    assert total is not None
    average = replace(total, entropy_sum=total.entropy_sum / len(chosen))
    return intervals, [*sizes, statistics.rarefaction(average, *thresholds)]


def _of_layer(
    marts: Marts, layer: int, frame: pd.DataFrame, validation: Validation
) -> dict[str, Any]:
    """Return what only one layer has: consistency without bias, and its lookup table's score."""
    frequency = frame["frequency"].to_numpy()
    load = marts.expert_load[marts.expert_load["moe_index"] == layer]
    of_layer = marts.layers[marts.layers["moe_index"] == layer].iloc[0]
    top_k = int(of_layer["top_k"])
    selections = load["selections"].to_numpy(float)
    return {
        "consistency": statistics.unbiased_consistency(
            frequency,
            frame["routing_consistency"].to_numpy(float),
            frame["held_out_consistency"].to_numpy(float),
            frame["random_consistency"].to_numpy(float),
        ),
        "specialisation": statistics.unbiased_consistency(
            frequency,
            frame["vocabulary_specialisation"].to_numpy(float),
            frame["held_out_specialisation"].to_numpy(float),
            statistics.random_specialisation(frequency, selections / of_layer["events"], top_k),
        ),
        "table": _table(marts.thresholds, layer, validation),
        "scaled": _scaled(frame, validation, int(of_layer["num_experts"])),
    }


def _scaled(frame: pd.DataFrame, validation: Validation, experts: int) -> ScaledThreshold | None:
    if experts < 2:
        return None
    threshold = validation.thresholds.entropy * math.log(experts) / math.log(SPECIFIED_EXPERTS)
    entropy = frame["mean_entropy"].to_numpy()
    found = statistics.fast_path(
        frame["frequency"].to_numpy(), entropy, validation.thresholds.frequency, threshold
    )
    share = statistics.entropy_distribution(entropy, threshold).low_entropy_share
    coverage = found.coverage * validation.tested_share
    return ScaledThreshold(experts, threshold, share, coverage)


def _table(thresholds: pd.DataFrame, layer: int, validation: Validation) -> TableScore | None:
    """Return the score at the validation's thresholds, if the grid has them."""
    rows = thresholds[
        (thresholds["moe_index"] == layer)
        & (thresholds["frequency_threshold"] == validation.thresholds.frequency)
        & (thresholds["entropy_threshold"] == validation.thresholds.entropy)
    ]
    if rows.empty:
        return None
    row = rows.iloc[0]
    measures = (
        None if pd.isna(row[name]) else float(row[name])
        for name in ("coverage", "set_agreement", "retained_gate_mass")
    )
    return TableScore(validation.thresholds, *measures)
