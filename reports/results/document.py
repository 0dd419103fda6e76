"""`validation.json`: every number of the validation report for machines."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from gatehouse.reports.verdict.assessment import Assessment
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.warehouse.release import gatehouse_version


def document(
    assessments: Sequence[Assessment],
    model: AssessedRun | None,
    source: dict[str, Any],
    replays: Sequence[dict[str, Any]] = (),
) -> str:
    """Return `validation.json`: every number of the report, undefined as null.

    Args:
        assessments: of MoE layers, or of one table.
        model: the run whose MoE layers they are; None for a table or for a single layer.
        source: what was tested: a run's row of `dim_run`, or a file.
        replays: what policies that overrule routers cost the model.
    """
    first = assessments[0]
    content = {
        "gatehouse": gatehouse_version(),
        "source": source,
        "thresholds": {
            "frequency": first.validation.thresholds.frequency,
            "entropy_nats": first.validation.thresholds.entropy,
        },
        "zipf": dataclasses.asdict(first.zipf),
        "layers": [_entry(each) for each in assessments],
        "model": _model(model) if model else None,
        "replays": list(replays),
    }
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _model(assessed: AssessedRun) -> dict[str, Any]:
    verdict, average = assessed.verdict, assessed.average
    entry = _entry(average) if average else {}
    return {
        "verdict": verdict.verdict,
        "supported": verdict.supported,
        "layers": len(verdict.supporting),
        "supporting": sum(verdict.supporting),
        "statement": verdict.sentence,
        "average": {name: entry[name] for name in ("statistics", "evidence")} if entry else None,
        "no_average": None if average else assessed.no_average,
    }


def _entry(assessment: Assessment) -> dict[str, Any]:
    validation, evidence = assessment.validation, assessment.evidence
    return {
        "layer": assessment.layer,
        "verdict": validation.verdict,
        "supported": validation.supported,
        "strength": assessment.strength,
        "advice": list(assessment.advice),
        "criteria": [dataclasses.asdict(each) for each in validation.criteria],
        "statistics": _fields(validation),
        "evidence": _fields(evidence) | {"table": evidence.table and _fields(evidence.table)},
    }


def _fields(measured: Any) -> dict[str, Any]:
    """Return a dataclass as JSON holds it: thresholds by the names that the options bear."""
    fields = dataclasses.asdict(measured)
    pair = fields.pop("thresholds", None)
    named = {f"{name}_threshold": value for name, value in pair.items()} if pair else {}
    return named | fields


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
