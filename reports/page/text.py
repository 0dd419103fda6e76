"""The words of a run's page: criteria with their intervals, measures, limits, how to cite it."""

import math
import re
from collections.abc import Collection
from typing import Any

import pandas as pd

from gatehouse.reports.marts.facts import run_facts
from gatehouse.reports.marts.untold import EVENTS, listed_none
from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.criteria import COVERAGE, LOW_ENTROPY, RHO, Criterion
from gatehouse.reports.verdict.evidence import SPECIFIED_EXPERTS
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.reports.verdict.validation import Validation
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.release import gatehouse_version

FEW_LAYERS = 6
"""As many are named one by one."""

INTERVALS = ("spearman", "low_entropy_share", "coverage")
"""The findings of the three criteria, in their order."""


def absent(assessed: AssessedRun, headings: list[str]) -> str:
    """Return what the run's source did not tell, and what the page lacks for it, in sentences.

    Args:
        assessed: the run; the text is empty if its source told everything.
        headings: of the charts that are left out.
    """
    if not assessed.untold:
        return ""
    verdict = "" if assessed.layers else ": there is no verdict"
    charts = f" These charts are left out: {', '.join(f'“{each}”' for each in headings)}."
    source = f"The trace ({assessed.run['source']}) has {listed_none(assessed.untold)}"
    return f"{source}{verdict}.{charts if headings else ''}"


def facts(assessed: AssessedRun) -> dict[str, str]:
    """Return the facts of the run by name; of counts also how many selections they add up to."""
    marts = assessed.marts
    size = f"{marts.expert_load['selections'].sum():,}"
    selections = {"Selections": size} if EVENTS in assessed.untold else {}
    return run_facts(assessed.run, marts.layers) | selections


def scope(assessed: AssessedRun) -> str:
    """Return how much text and how many layers and experts the page is about, in one line."""
    run, layers = assessed.run, assessed.marts.layers
    if EVENTS in assessed.untold:
        size = counted(int(assessed.marts.expert_load["selections"].sum()), "selection")
    else:
        size = f"{counted(run['tokens'], 'token')} of {counted(run['samples'], 'sample')}"
    experts = layers["num_experts"].map("{:,}".format).unique()
    widths = layers["top_k"].map("{:,}".format).unique()
    chosen = f"top-{' or '.join(widths)} of {' or '.join(experts)} experts"
    return f"{size}; {counted(len(layers), 'MoE layer')}, {chosen}"


def routing(assessed: AssessedRun) -> dict[str, str]:
    """Return how the layers are routed, by name: from the least to the most of each measure."""
    layers, load = assessed.marts.layers, assessed.marts.expert_load
    dead = int(layers["dead_experts"].sum())
    by_layer = layers.loc[layers["dead_experts"] > 0, "moe_index"].map("{:.0f}".format)
    where = f", in {_of_layers(list(by_layer))}" if dead and len(layers) > 1 else ""
    found = {
        "Busiest expert": _range(layers, "max_load_ratio", "{:.2f}", " times a fair share"),
        "Experts without load": f"{dead or 'none'} of {len(load):,}{where}",
        "Mean entropy": _range(
            layers, "normalised_entropy", "{:.2f}", " of the most there can be, ln experts"
        ),
        "Routing consistency": _range(
            layers, "routing_consistency", "{:.2f}", ", the mean over occurrences"
        ),
    }
    return {name: words for name, words in found.items() if words}


def _range(layers: pd.DataFrame, name: str, pattern: str, unit: str) -> str:
    """Return a measure's least and greatest value with their layers; nothing if none is known."""
    known = layers[layers[name].notna()]
    values = known[name].to_numpy(dtype=float)
    if not values.size:
        return ""
    low, high = int(values.argmin()), int(values.argmax())
    least, most = pattern.format(values[low]), pattern.format(values[high])
    if least == most:
        return f"{least}{unit}"
    indices = known["moe_index"].to_numpy(dtype=int)
    return f"{least} (layer {indices[low]}) to {most} (layer {indices[high]}){unit}"


def _of_layers(indices: list[str]) -> str:
    if len(indices) == 1:
        return f"layer {indices[0]}"
    few = indices if len(indices) <= FEW_LAYERS else [*indices[:FEW_LAYERS], "more"]
    return f"layers {', '.join(few[:-1])} and {few[-1]}"


def criteria(validation: Validation, finding: pd.Series) -> list[dict[str, Any]]:
    """Return each criterion's fields and its 95 % interval as text, empty where undefined."""
    return [_criterion(*each, finding) for each in zip(validation.criteria, INTERVALS, strict=True)]


def _criterion(criterion: Criterion, name: str, finding: pd.Series) -> dict[str, Any]:
    low, high = finding[f"{name}_low"], finding[f"{name}_high"]
    interval = ""
    if pd.notna(low) and pd.notna(high):
        interval = f"95 % interval {_bound(low, name)} to {_bound(high, name)}"
    return {
        "name": criterion.name,
        "found": criterion.found,
        "demand": criterion.demand,
        "met": criterion.met,
        "grade": criterion.grade,
        "interval": interval,
    }


def _bound(value: float, name: str) -> str:
    return f"{value:.3f}" if name == "spearman" else f"{value:.1%}"


def measures(validation: Validation) -> dict[str, str]:
    """Return the further measures of the validation report by name."""
    zipf, entropy = validation.zipf, validation.entropy
    consistency, fast_path = validation.consistency, validation.fast_path
    correlation = validation.correlation
    fit = zipf.undefined if zipf.r_squared is None else f"{zipf.r_squared:.4f}"
    pearson = "undefined" if correlation.pearson is None else f"{correlation.pearson:.4f}"
    return {
        "Distinct tokens": f"{validation.tokens:,}",
        "Occurrences": f"{validation.occurrences:,}",
        "Zipf R²": f"{fit}",
        **{f"Coverage, top {top:,}": f"{share:.1%}" for top, share in zipf.coverage.items()},
        "Pearson r of ln(frequency + 1)": pearson,
        "Entropy, mean": f"{entropy.mean:.4f} nats",
        "Entropy, standard deviation": f"{entropy.std:.4f} nats",
        "Entropy, median": f"{entropy.median:.4f} nats",
        "Consistency, mean": f"{consistency.mean:.4f}",
        f"Consistency, top {consistency.top_tokens:,}": f"{consistency.top_mean:.4f}",
        "Eligible tokens": f"{fast_path.eligible_tokens:,} ({fast_path.eligible_share:.1%})",
    }


def limits(assessed: AssessedRun, layer: int) -> list[str]:
    """Return what the numbers do not say, one sentence or two each.

    Args:
        assessed: the run.
        layer: position, among the MoE layers, of the one shown first.
    """
    run, validation = assessed.run, assessed.layers[layer].validation
    experts = int(assessed.marts.layers["num_experts"].iloc[layer])
    ceiling, special = math.log(experts), validation.special
    excluded = sum(each.validation.excluded_rows for each in assessed.layers)
    unknown = sum(each.validation.excluded_occurrences for each in assessed.layers)
    return [
        "One model, one dataset: each layer's verdict holds only for that layer of this model on "
        "this dataset.",
        f"The entropy threshold is absolute. With {experts} experts entropy can reach "
        f"ln {experts} = {ceiling:.2f} nats, so {validation.thresholds.entropy:g} nats is "
        f"{validation.thresholds.entropy / max(ceiling, 1e-9):.0%} of the range."
        + _as_strict(assessed.layers[layer]),
        "A token seen once has consistency 1: compare consistency with that of a random router "
        "and with held-out documents, not with 0.",
        f"With {validation.tokens:,} tokens even a weak correlation has a small p: judge {RHO} "
        "and its interval, not p. Tokens of one text are not independent; the intervals resample "
        "documents for that reason, p does not.",
        "Coverage says how often a lookup table would answer. How often its answer is the "
        "router's is the held-out agreement, which was measured on the same dataset.",
        f"Special tokens are included: {special.tokens:,} (by {special.recognised_by}) with "
        f"{special.occurrence_share:.1%} of the occurrences.",
        f"{counted(run['dropped_tokens'], 'token')} past the maximum length of "
        f"{run['max_length']:,} {_were(run['dropped_tokens'])} never seen by the model.",
        f"{counted(excluded, 'row')} with values that are not finite or not possible "
        f"{_were(excluded)} excluded, over all layers"
        + (
            f"; their {counted(unknown, 'occurrence')} count in Zipf, consistency and coverage."
            if unknown
            else "."
        ),
        "The random router draws from each layer's own loads; co-activation and transition "
        "matrices show at most the 64 busiest experts.",
    ]


def untested_limits(untold: Collection[str]) -> list[str]:
    """Return what the numbers of a run without a verdict do not say.

    Args:
        untold: what the run's source did not tell.
    """
    matrices = "Co-activation and transition matrices show at most the 64 busiest experts."
    return [
        "One model, one dataset: what is shown holds only for this model on this dataset.",
        "An even share is that of a router which chooses every expert equally often.",
        *([] if EVENTS in untold else [matrices]),
    ]


def _as_strict(assessment: Assessment) -> str:
    """Return what a threshold gives that follows the number of experts, as a sentence."""
    scaled = assessment.evidence.scaled
    if scaled is None or scaled.experts == SPECIFIED_EXPERTS:
        return ""
    return (
        f" One as strict as that among {SPECIFIED_EXPERTS} experts, {scaled.threshold:.4g} nats, "
        f"has {LOW_ENTROPY.text(scaled.low_entropy_share)} of tokens under it, and covers "
        f"{COVERAGE.text(scaled.coverage)} of occurrences."
    )


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def citation(run: dict[str, Any]) -> str:
    """Return a BibTeX entry for the run."""
    finished = run["finished_at"]
    key = re.sub(r"[^A-Za-z0-9:_.-]", "-", str(run["run_id"]))
    return "\n".join(
        [
            f"@misc{{{key},",
            f"  title = {{Routing of {_braced(run['model'])} on {_braced(run['dataset'])}}},",
            f"  note = {{Gatehouse {gatehouse_version()}, run {_braced(run['run_id'])}}},",
            f"  year = {{{finished:%Y}}},",
            f"  month = {{{finished:%m}}},",
            f"  day = {{{finished:%d}}}",
            "}",
        ]
    )


def _braced(text: Any) -> str:
    """Return text that cannot end its BibTeX field."""
    return re.sub(r"[{}\\]", "", str(text)).replace("_", r"\_")
