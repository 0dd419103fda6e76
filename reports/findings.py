"""A run's assessment as frames to draw, and as one document for machines."""

import dataclasses
import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd

from reports.analysis import Findings
from reports.assessment import Assessment, RunAssessment
from reports.statistics import Interval, UnbiasedConsistency


def findings(assessed: RunAssessment) -> Findings:
    """Return what was found, as frames: see `reports.analysis.Findings`."""
    every = [*assessed.layers, assessed.model]
    minima = [
        {"moe_index": each.layer} | dataclasses.asdict(row)
        for each in assessed.layers
        for row in each.evidence.minima
    ]
    sizes = [
        {"moe_index": each.layer} | dataclasses.asdict(row)
        for each in assessed.layers
        for row in each.evidence.sample_sizes
    ]
    rows = [_row(each) for each in every]
    validation = assessed.model.validation
    return Findings(
        layers=pd.DataFrame(rows[:-1]),
        model=pd.DataFrame(rows[-1:]),
        minima=pd.DataFrame(minima),
        sample_sizes=pd.DataFrame(sizes),
        zipf=assessed.model.zipf,
        frequency_threshold=validation.frequency_threshold,
        entropy_threshold=validation.entropy_threshold,
    )


def _row(assessment: Assessment) -> dict[str, Any]:
    validation, evidence = assessment.validation, assessment.evidence
    null = evidence.permutation
    return {
        "moe_index": assessment.layer,
        "verdict": validation.verdict,
        "criteria_met": sum(criterion.met for criterion in validation.criteria),
        "tokens": validation.tokens,
        "occurrences": validation.occurrences,
        "log10_p": validation.correlation.log10_p,
        "holm_log10_p": evidence.holm_log10_p,
        "null_low": null.low if null else None,
        "null_high": null.high if null else None,
        "kendall": evidence.kendall,
        "partial_spearman": evidence.partial_spearman,
        **_measures(assessment),
        **_unbiased("consistency", evidence.consistency),
        **_unbiased("specialisation", evidence.specialisation),
    }


def _measures(assessment: Assessment) -> dict[str, float | None]:
    """Return the three criteria's measures with the ends of their intervals."""
    validation, bootstrap = assessment.validation, assessment.evidence.bootstrap
    measures = {
        "spearman": validation.correlation.spearman,
        "low_entropy_share": validation.entropy.low_entropy_share,
        "coverage": validation.fast_path.coverage,
    }
    row: dict[str, float | None] = {}
    for name, value in measures.items():
        interval: Interval | None = getattr(bootstrap, name) if bootstrap else None
        row |= {
            name: value,
            f"{name}_low": interval.low if interval else None,
            f"{name}_high": interval.high if interval else None,
        }
    return row


def _unbiased(name: str, found: UnbiasedConsistency | None) -> dict[str, float | None]:
    return {
        name: found.plain if found else None,
        f"held_out_{name}": found.held_out if found else None,
        f"random_{name}": found.random if found else None,
    }


def document(
    assessments: Sequence[Assessment], model: Assessment | None, source: dict[str, Any]
) -> str:
    """Return `validation.json`: every number of the report, undefined as null.

    Args:
        assessments: of MoE layers, or of one table.
        model: of their average; None for a table or for a single layer.
        source: what was tested: a run's row of `dim_run`, or a file.
    """
    first = assessments[0]
    content = {
        "gatehouse": version("gatehouse"),
        "source": source,
        "thresholds": {
            "frequency": first.validation.frequency_threshold,
            "entropy_nats": first.validation.entropy_threshold,
        },
        "zipf": dataclasses.asdict(first.zipf),
        "layers": [_entry(each) for each in assessments],
        "model": _entry(model) if model else None,
    }
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _entry(assessment: Assessment) -> dict[str, Any]:
    validation, evidence = assessment.validation, assessment.evidence
    return {
        "layer": assessment.layer,
        "verdict": validation.verdict,
        "supported": validation.supported,
        "strength": assessment.strength,
        "advice": list(assessment.advice),
        "criteria": [dataclasses.asdict(each) for each in validation.criteria],
        "statistics": dataclasses.asdict(validation),
        "evidence": dataclasses.asdict(evidence),
    }


def _plain(value: Any) -> Any:
    """Return the value in JSON's types: numbers that are not finite are null, times ISO 8601."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
