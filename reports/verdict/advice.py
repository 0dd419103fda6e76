"""What to try where a verdict is NOT SUPPORTED: the specification's advice, by what failed."""

import math
from collections.abc import Mapping

import pandas as pd

from gatehouse.reports import statistics
from gatehouse.reports.verdict.criteria import COVERAGE, LOW_ENTROPY, RHO, p_text, shares_met
from gatehouse.reports.verdict.evidence import Evidence
from gatehouse.reports.verdict.strength import Lies, margins, only_p_fails
from gatehouse.reports.verdict.validation import Validation

LEAST_GAIN = 0.02
"""A measure that changed less than this over the last doubling of the text has settled."""

FEWEST_SIZES = 2

MOST_OF_THE_RANGE = 0.9
"""An entropy threshold above this part of ln(experts) would call nearly any router decided."""


def advice(
    validation: Validation,
    evidence: Evidence,
    frame: pd.DataFrame,
    others: Mapping[int, Validation],
) -> list[str]:
    """Return what to try, in the specification's order; nothing where the verdict is SUPPORTED.

    Args:
        validation: of one MoE layer, a table, or the average of all layers.
        evidence: for the same verdict.
        frame: the per-token statistics that were validated.
        others: index -> validation of the run's other MoE layers; none for a table.
    """
    if validation.supported:
        return []
    return [
        *_another_layer(validation, others),
        *_more_text(validation, evidence),
        *_another_text(validation, evidence),
        *_other_thresholds(validation, frame, _usable_entropy(evidence, frame)),
        *_another_model(others),
    ]


def _met(validation: Validation) -> int:
    return sum(criterion.met for criterion in validation.criteria)


def _another_layer(validation: Validation, others: Mapping[int, Validation]) -> list[str]:
    better = {layer: _met(each) for layer, each in others.items() if _met(each) > _met(validation)}
    if not better:
        return []
    best = max(better, key=lambda layer: (better[layer], -layer))
    return [
        f"Try a different layer: MoE layer {best} meets {better[best]} of 3 criteria "
        f"(--layer {best})."
    ]


def _more_text(validation: Validation, evidence: Evidence) -> list[str]:
    """Advise more samples where a measure moves, its interval reaches across, or p is too large."""
    reasons = [
        f"the interval of {each.demand.measure} reaches across its limit"
        for each in margins(validation, evidence)
        if not each.is_met and each.lies is Lies.ACROSS
    ]
    if only_p_fails(validation):
        reasons.append(
            f"{validation.tokens:,} tokens give p={p_text(validation.correlation.log10_p)}"
        )
    if len(evidence.sample_sizes) >= FEWEST_SIZES:
        half, whole = evidence.sample_sizes[-2:]
        if not validation.criteria[2].met and whole.coverage - half.coverage > LEAST_GAIN:
            reasons.append(
                f"coverage was {half.coverage:.1%} on half of the documents "
                f"and is {whole.coverage:.1%} on all"
            )
        if (
            not validation.criteria[0].met
            and half.spearman is not None
            and whole.spearman is not None
            and half.spearman - whole.spearman > LEAST_GAIN
        ):
            reasons.append(
                f"{RHO} was {half.spearman:.3f} on half of the documents "
                f"and is {whole.spearman:.3f} on all"
            )
    if not reasons:
        return []
    return [f"Increase the sample size (--num-samples): {', and '.join(reasons)}."]


def _another_text(validation: Validation, evidence: Evidence) -> list[str]:
    """Advise another dataset where more of this one would not change the correlation."""
    correlation = margins(validation, evidence)[0]
    if correlation.is_met or correlation.lies is not Lies.MISSING:
        return []
    return [
        f"Try a different dataset (--dataset): on this one the whole interval of {RHO} "
        f"({correlation.text}) misses its demand."
    ]


def _usable_entropy(evidence: Evidence, frame: pd.DataFrame) -> float:
    """Return the largest entropy threshold, in nats, that still tells tokens apart.

    Under 90 % of ln(experts) nearly every token of any router falls. A table does not say how many
    experts there are: there are at least as many as it names, and as its entropies need.
    """
    if evidence.scaled:
        ceiling = math.log(evidence.scaled.experts)
    else:
        named = frame["top_expert"].max() + 1 if "top_expert" in frame else 1
        ceiling = max(math.log(max(named, 1)), frame["mean_entropy"].max())
    return MOST_OF_THE_RANGE * ceiling


def _other_thresholds(validation: Validation, frame: pd.DataFrame, highest: float) -> list[str]:
    """Advise the strictest pair of the grid under which both shares would meet their criteria."""
    if validation.criteria[1].met and validation.criteria[2].met:
        return []
    frequency = frame["frequency"].to_numpy()
    entropy = frame["mean_entropy"].to_numpy()
    for most in [each for each in statistics.entropy_thresholds(highest) if each <= highest]:
        share = statistics.entropy_distribution(entropy, most).low_entropy_share
        for least in reversed(statistics.FREQUENCY_THRESHOLDS):
            covered = (
                statistics.fast_path(frequency, entropy, least, most).coverage
                * validation.tested_share
            )
            if all(shares_met(share, covered)):
                return [
                    f"Adjust the thresholds: --frequency-threshold {least} --entropy-threshold "
                    f"{most:g} would give {LOW_ENTROPY.text(share)} of tokens and "
                    f"{COVERAGE.text(covered)} of occurrences."
                ]
    return [
        "Other thresholds would not help: no pair of the grid up to an entropy of "
        f"{highest:.2f} nats, {MOST_OF_THE_RANGE:.0%} of the range, meets both shares."
    ]


def _another_model(others: Mapping[int, Validation]) -> list[str]:
    if any(each.supported for each in others.values()):
        return []
    of_run = " no layer of this one meets all three criteria" if others else ""
    return [f"Try a different model (--model){':' if of_run else ''}{of_run}."]
