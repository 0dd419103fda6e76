"""What policies that overrule routers cost the model, how sure that is, and which ones pass."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports.inference.cache_curve import ENDS, LEAST_DOCUMENTS, REPLICATES
from gatehouse.warehouse.replays import BIGRAMS, TOKENS, ReplayPolicy

Floats = NDArray[np.float64]

TARGET = 1.01
"""Perplexity over the untouched model's that VAR's lookup promises to stay under."""

TABLES = (TOKENS, BIGRAMS)
"""Kinds of policies that look a token's experts up."""

RATIOS = {
    "delta_nll": ("delta_nll", "tokens"),
    "kl": ("kl", "tokens"),
    "same_top": ("same_top", "tokens"),
    "coverage": ("covered", "token_layers"),
    "set_agreement": ("agreed", "covered"),
    "experts": ("experts_run", "token_layers"),
}
"""A measure -> the sums over documents that it is the ratio of."""

WHOLE = ("min_frequency", "frequency_threshold", "table_size", "masked_experts")


@dataclass(frozen=True)
class Estimate:
    """A value, and its 95 % interval over documents; low and high are None without one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ReplayCost:
    """What a policy cost in the documents that it was replayed over.

    Attributes:
        policy: what overruled the routers.
        words: the policy for people.
        documents, samples, tokens: replayed; tokens are those that were predicted.
        text: hash of which documents these were and how long: equal for the same text.
        untouched_nll: of the model itself, nats a token.
        delta_nll: by how much the policy's loss is higher, nats a token.
        kl: divergence from the untouched model, nats a token.
        same_top: share of the tokens where both find the same one the likeliest.
        coverage: share of the token-layers (tokens times MoE layers) whose routing was replaced.
        set_agreement: share of these where the router's own set was put in; None if there are none.
        experts: that ran, of a token and layer.
        predicted_coverage, predicted_agreement: what the marts of the fast path say of the same
            table on all held-out text; None where they say nothing.
    """

    policy: ReplayPolicy
    words: str
    documents: int
    samples: int
    tokens: int
    text: int
    untouched_nll: float
    delta_nll: Estimate
    kl: Estimate
    same_top: Estimate
    coverage: Estimate
    set_agreement: Estimate | None
    experts: Estimate
    predicted_coverage: float | None
    predicted_agreement: float | None

    @property
    def perplexity_ratio(self) -> Estimate:
        """Perplexity over that of the untouched model."""
        found = self.delta_nll
        ends = [None if end is None else math.exp(end) for end in (found.low, found.high)]
        return Estimate(math.exp(found.value), *ends)

    @property
    def is_table(self) -> bool:
        """Whether it looks experts up, and is no control."""
        return self.policy.kind in TABLES

    @property
    def stays_under(self) -> bool | None:
        """Whether its whole interval is within TARGET, or beyond it; None if it cannot be told."""
        ratio = self.perplexity_ratio
        if ratio.low is None or ratio.high is None:
            return None
        return True if ratio.high <= TARGET else False if ratio.low > TARGET else None


def replay_costs(replays: pd.DataFrame, documents: pd.DataFrame) -> list[ReplayCost]:
    """Return what each policy cost, controls last; those that predicted no token are left out.

    Intervals are of documents drawn with repetition, a ratio of two sums; policies that have the
    same documents see the same draws. Source: Efron & Tibshirani (1993), An introduction to the
    bootstrap.

    Args:
        replays: `reports.marts.replays.replays`.
        documents: `reports.marts.replays.replay_documents`.
    """
    by_policy = dict(iter(documents.groupby("policy_id")))
    found = []
    for record in replays.to_dict("records"):
        row = {str(name): value for name, value in record.items()}
        sums = by_policy.get(row["policy_id"])
        if sums is not None and sums["tokens"].sum() > 0:
            found.append(_cost(row, sums.sort_values("document")))
    return sorted(found, key=lambda cost: cost.policy.is_control)


def policy_of(row: dict[str, Any]) -> ReplayPolicy:
    """Return the policy that a row of `reports.marts.replays.replays` is of."""
    stated = {field.name: _stated(row[field.name]) for field in fields(ReplayPolicy)}
    whole = {name: int(stated[name]) for name in WHOLE if stated[name] is not None}
    indices = stated["moe_indices"]
    if indices is not None:
        stated["moe_indices"] = tuple(int(index) for index in indices)
    if stated["ids_only"] is not None:
        stated["ids_only"] = bool(stated["ids_only"])
    return ReplayPolicy(**stated | whole)


def _stated(value: Any) -> Any:
    """Return a value of a row, None where it has none."""
    return None if np.ndim(value) == 0 and pd.isna(value) else value


def _cost(row: dict[str, Any], sums: pd.DataFrame) -> ReplayCost:
    names = sorted({name for pair in RATIOS.values() for name in pair})
    values = {name: sums[name].to_numpy(np.float64) for name in names}
    drawn = _drawn(len(sums), values)
    measures = {
        measure: _estimate(values, drawn, *pair)
        for measure, pair in RATIOS.items()
        if values[pair[1]].sum() > 0
    }
    return ReplayCost(
        policy=policy_of(row),
        words=str(row["policy"]),
        documents=len(sums),
        samples=int(row["samples"]),
        tokens=int(sums["tokens"].sum()),
        text=hash(tuple(zip(sums["document"], sums["tokens"], strict=True))),
        untouched_nll=float(sums["untouched_nll"].sum() / sums["tokens"].sum()),
        set_agreement=measures.pop("set_agreement", None),
        predicted_coverage=_stated(row["predicted_coverage"]),
        predicted_agreement=_stated(row["predicted_agreement"]),
        **measures,
    )


def _drawn(documents: int, values: dict[str, Floats]) -> dict[str, Floats] | None:
    """Return (replicates,) sums over documents drawn with repetition; None of too few of them."""
    if documents < LEAST_DOCUMENTS:
        return None
    random = np.random.default_rng(0)
    drawn = random.multinomial(documents, np.full(documents, 1 / documents), REPLICATES)
    return {name: drawn @ each for name, each in values.items()}


def _estimate(
    values: dict[str, Floats], drawn: dict[str, Floats] | None, above: str, below: str
) -> Estimate:
    value = float(values[above].sum() / values[below].sum())
    if drawn is None:
        return Estimate(value, None, None)
    # where a rare table covers nothing of the documents drawn, its agreement is undefined
    some = drawn[below] > 0
    low, high = np.quantile(drawn[above][some] / drawn[below][some], ENDS)
    return Estimate(value, float(low), float(high))


def tables(costs: list[ReplayCost]) -> list[ReplayCost]:
    """Return the lookup tables that covered anything, controls not among them."""
    return [cost for cost in costs if cost.is_table and cost.coverage.value > 0]


def best_table(costs: list[ReplayCost]) -> ReplayCost | None:
    """Return the table that covers most of those that surely stay under TARGET; None if none does.

    Of several that cover as much it is the cheapest.
    """
    under = [cost for cost in tables(costs) if cost.stays_under]
    return max(under, key=lambda cost: (cost.coverage.value, -cost.delta_nll.value), default=None)


def of_thresholds(costs: list[ReplayCost], frequency: int, entropy: float) -> ReplayCost | None:
    """Return the cost of VAR's rule at these thresholds, in all layers; None if not replayed."""
    for cost in costs:
        policy = cost.policy
        if (
            policy.kind == TOKENS
            and policy.frequency_threshold == frequency
            and policy.entropy_threshold is not None
            and math.isclose(policy.entropy_threshold, entropy)
            and policy.moe_indices is None
            and not policy.ids_only
        ):
            return cost
    return None


def same_text(costs: list[ReplayCost]) -> bool:
    """Return whether all policies were replayed over the same documents, as far as they go."""
    return len({cost.text for cost in costs}) < 2
