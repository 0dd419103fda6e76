"""The page's section on what other routing costs the model, of a run that was replayed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from gatehouse.reports.inference.cache_curve import LEAST_DOCUMENTS
from gatehouse.reports.inference.replay_costs import (
    Estimate,
    ReplayCost,
    replay_costs,
    same_text,
)
from gatehouse.reports.inference.replay_curves import (
    TARGET_NATS,
    Curve,
    Panel,
    curve_name,
    in_order,
    panels,
)
from gatehouse.reports.inference.replay_sentences import advice
from gatehouse.reports.marts import Marts
from gatehouse.reports.page.chart import Chart, Group, Part
from gatehouse.reports.page.packing import plain
from gatehouse.reports.verdict.findings import AssessedRun
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import CAPTURE

COST = Chart(
    "replay-cost",
    "Loss under other routing",
    "Below the dashed line perplexity rises by less than 1 %, as Verifiable Adaptive Routing "
    "promises of its table: of what is looked up, points below it and far right are best. Grey "
    "points are controls.",
    of_layer=False,
    wide=True,
)
AGREEMENT = Chart(
    "replay-agreement",
    "Agreement, foretold and measured",
    "On the diagonal a table agrees with the router as often as the fast path's statistics "
    "foretell; filled points are the selected layer, faint ones the others.",
    wide=True,
)


def with_replays(parts: Sequence[Part], assessed: AssessedRun) -> tuple[Part, ...]:
    """Return a page's parts; the last, on inference, ends with the cost if it was measured."""
    if not assessed.marts.was_replayed:
        return tuple(parts)
    charts = (COST, AGREEMENT) if _foretold(assessed.marts) else (COST,)
    group = Group("replay", "What would it cost?", charts)
    return tuple(
        replace(part, groups=(*part.groups, group)) if part.stem == "inference" else part
        for part in parts
    )


def could_be_replayed(assessed: AssessedRun) -> bool:
    """Return whether a run has a model to replay, and was not replayed."""
    return assessed.run["source"] == CAPTURE and not assessed.marts.was_replayed


def for_replay(assessed: AssessedRun) -> dict[str, dict[str, Any]]:
    """Return the data of the section's charts by their ids; empty without replays."""
    costs = in_order(_costs(assessed.marts))
    if not costs:
        return {}
    found: dict[str, dict[str, Any]] = {
        "replay-cost": {
            "advice": advice(costs),
            "note": _note(costs),
            "target": TARGET_NATS,
            "panels": [_panel(each) for each in panels(costs)],
            "policies": [_policy(each) for each in costs],
        }
    }
    if _foretold(assessed.marts):
        found["replay-agreement"] = {"advice": [], "tables": _agreements(assessed.marts, costs)}
    return found


def policy_rows(assessed: AssessedRun) -> list[dict[str, Any]]:
    """Return each policy's measures as text, controls last: the table beside the charts."""
    return [
        {
            "policy": cost.words,
            "is_control": cost.policy.is_control,
            "covered": f"{cost.coverage.value:.1%}",
            "delta": f"{cost.delta_nll.value:+.4f}",
            "interval": _interval(cost.delta_nll),
            "ratio": f"{cost.perplexity_ratio.value:.4f}",
            "same_top": f"{cost.same_top.value:.1%}",
            "kl": f"{cost.kl.value:.4f}",
            "experts": f"{cost.experts.value:.2f}",
            "agreement": "" if cost.set_agreement is None else f"{cost.set_agreement.value:.1%}",
            "foretold": ""
            if cost.predicted_agreement is None
            else f"{cost.predicted_agreement:.1%}",
        }
        for cost in in_order(_costs(assessed.marts))
    ]


def _costs(marts: Marts) -> list[ReplayCost]:
    return replay_costs(marts.replays, marts.replay_documents)


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:+.4f} to {estimate.high:+.4f}"


def _note(costs: list[ReplayCost]) -> str:
    first = costs[0]
    if not same_text(costs):
        return "Policies were not all replayed over the same documents."
    text = f"{counted(first.documents, 'held-out document')}, {first.tokens:,} predicted tokens"
    sure = (
        f"fewer than {LEAST_DOCUMENTS} documents have no intervals"
        if first.delta_nll.low is None
        else "whiskers are 95 % intervals over documents"
    )
    return f"Replayed: {text}, {first.untouched_nll:.3f} nats each untouched; {sure}."


def _panel(panel: Panel) -> dict[str, Any]:
    beyond = {id(cost) for cost in panel.beyond}
    return {
        "stem": panel.stem,
        "title": panel.title,
        "axis": panel.axis,
        "least": panel.least,
        "most": panel.most,
        "curves": [_curve(panel, each, beyond) for each in panel.curves],
    }


def _curve(panel: Panel, curve: Curve, beyond: set[int]) -> dict[str, Any]:
    return {
        "name": curve.name,
        "control": curve.is_control,
        "places": plain(panel.place(cost) for cost in curve.costs),
        "policy_ids": [cost.policy.policy_id for cost in curve.costs],
        "beyond": [id(cost) in beyond for cost in curve.costs],
    }


def _policy(cost: ReplayCost) -> dict[str, Any]:
    ratio, delta = cost.perplexity_ratio, cost.delta_nll
    agreement = None if cost.set_agreement is None else cost.set_agreement.value
    numbers = {
        "documents": cost.documents,
        "tokens": cost.tokens,
        "coverage": cost.coverage.value,
        "delta_nll": delta.value,
        "delta_nll_low": delta.low,
        "delta_nll_high": delta.high,
        "perplexity_ratio": ratio.value,
        "perplexity_ratio_low": ratio.low,
        "perplexity_ratio_high": ratio.high,
        "same_top": cost.same_top.value,
        "kl": cost.kl.value,
        "experts": cost.experts.value,
        "set_agreement": agreement,
        "predicted_coverage": cost.predicted_coverage,
        "predicted_agreement": cost.predicted_agreement,
    }
    return {
        "policy_id": cost.policy.policy_id,
        "policy": cost.words,
        "control": cost.policy.is_control,
        **dict(zip(numbers, plain(numbers.values()), strict=True)),
    }


def _foretold(marts: Marts) -> bool:
    return bool(marts.replay_layers["predicted_agreement"].notna().any())


def _agreements(marts: Marts, costs: list[ReplayCost]) -> list[dict[str, Any]]:
    """Return each table's agreement by layer, foretold and measured, where both are known."""
    by_policy = dict(iter(marts.replay_layers.groupby("policy_id")))
    indices = marts.layers["moe_index"].astype(int)
    found = []
    for cost in costs:
        layers = by_policy.get(cost.policy.policy_id, pd.DataFrame())
        if layers.empty or layers["predicted_agreement"].isna().all() or cost.policy.is_control:
            continue
        layers = layers.set_index("moe_index").reindex(indices)
        found.append(
            {
                "name": curve_name(cost.policy),
                "policy": cost.words,
                "foretold": plain(layers["predicted_agreement"]),
                "measured": plain(layers["set_agreement"]),
                "coverage": plain(layers["coverage"]),
            }
        )
    return found
