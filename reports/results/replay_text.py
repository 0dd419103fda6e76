"""What replays cost: as `gatehouse replay` prints it, and as the validation report says it."""

from contextlib import closing
from typing import Any

from gatehouse.reports.inference.cache_curve import LEAST_DOCUMENTS
from gatehouse.reports.inference.replay_costs import (
    ReplayCost,
    of_thresholds,
    replay_costs,
    same_text,
)
from gatehouse.reports.inference.replay_sentences import TABLE, advice, interval, verdict
from gatehouse.reports.marts import Marts
from gatehouse.reports.marts.facts import run_title
from gatehouse.reports.marts.replays import replay_documents, replays
from gatehouse.reports.marts.runs import run_summary
from gatehouse.reports.verdict.thresholds import Thresholds
from gatehouse.warehouse.connect import connect
from gatehouse.warehouse.paths import Paths
from gatehouse.warehouse.plain_text import counted

DELTA = "\N{GREEK CAPITAL LETTER DELTA}"
TIMES = "\N{MULTIPLICATION SIGN}"
NOT_KNOWN = "-"


def replay_text(run_id: str, policy_ids: list[str], paths: Paths) -> str:
    """Return what policies cost: the text, a row for each of them, and what follows.

    Args:
        run_id: a replayed run, in the marts.
        policy_ids: those to show, in this order but for controls, which come last.
        paths: the warehouse.

    Raises:
        GatehouseError: there is no such run, or the marts are of another build.
    """
    with closing(connect(paths)) as connection:
        run = run_summary(connection, run_id)
        frame = replays(connection, run_id)
        documents = replay_documents(connection, run_id)
    frame = frame[frame["policy_id"].isin(policy_ids)]
    costs = replay_costs(frame, documents)
    costs.sort(key=lambda cost: (cost.policy.is_control, policy_ids.index(cost.policy.policy_id)))
    title = run_title(run)
    if not costs:
        return f"{title}\nNothing was replayed: no token of the text could be predicted."
    blocks = [[title, *text_lines(costs)], table(costs), advice(costs)]
    return "\n\n".join("\n".join(block) for block in blocks)


def text_lines(costs: list[ReplayCost]) -> list[str]:
    """Return what was replayed, and the untouched model's loss on it."""
    first = costs[0]
    if not same_text(costs):
        return [
            "Replayed: held-out documents, not the same ones under every policy; each row is of "
            "its own text"
        ]
    lines = [
        f"Replayed: {counted(first.documents, 'held-out document')}, "
        f"{counted(first.tokens, 'predicted token')}; the untouched model's loss is "
        f"{first.untouched_nll:.4f} nats a token"
    ]
    if first.delta_nll.low is None:
        lines.append(f"Fewer than {LEAST_DOCUMENTS} documents have no intervals.")
    return lines


def table(costs: list[ReplayCost]) -> list[str]:
    """Return a row for each policy; columns that say nothing here are left out."""
    columns: dict[str, list[str]] = {
        "policy": [("control: " if each.policy.is_control else "") + each.words for each in costs],
        "covered": [f"{each.coverage.value:.1%}" for each in costs],
        f"{DELTA}NLL, nats a token": [interval(each.delta_nll, "+.4f") for each in costs],
        "perplexity": [_times(each.perplexity_ratio.value) for each in costs],
        "same top-1": [f"{each.same_top.value:.1%}" for each in costs],
        "KL": [f"{each.kl.value:.4f}" for each in costs],
    }
    # all policies that replace sets run as many experts as the router chose
    if len({f"{each.experts.value:.2f}" for each in costs}) > 1:
        columns["experts"] = [f"{each.experts.value:.2f}" for each in costs]
    agreed = [each.set_agreement.value if each.set_agreement else None for each in costs]
    columns["same set"] = [_share(value) for value in agreed]
    if any(each.predicted_agreement is not None for each in costs):
        columns["foretold"] = [_share(each.predicted_agreement) for each in costs]
    if not same_text(costs):
        columns["tokens"] = [f"{each.tokens:,}" for each in costs]
    rows = [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _times(ratio: float) -> str:
    return f"{TIMES}{ratio:.4f}"


def _share(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.1%}"


def measured_lines(marts: Marts, thresholds: Thresholds) -> list[str]:
    """Return what the model itself lost with VAR's table and the best one; none without replays.

    Args:
        marts: of a run.
        thresholds: of the fast path, which VAR's table is looked for by.
    """
    costs = replay_costs(marts.replays, marts.replay_documents)
    if not TABLE.asked(costs):
        return []
    lines = []
    if of_rule := of_thresholds(costs, thresholds.frequency, thresholds.entropy):
        covered = of_rule.coverage.value
        found = f"cover {covered:.1%} of {counted(of_rule.tokens, 'held-out token')}"
        if covered:
            found += f", perplexity {TIMES} {interval(of_rule.perplexity_ratio, '.4f')}"
        lines.append(f"Measured in the model, these thresholds in all MoE layers at once: {found}")
    return [*lines, f"Measured in the model: {verdict(costs)}"]


def measured_rows(marts: Marts) -> list[dict[str, Any]]:
    """Return what each policy cost for machines, ends of intervals as null where there is none."""
    return [_measured(cost) for cost in replay_costs(marts.replays, marts.replay_documents)]


def _measured(cost: ReplayCost) -> dict[str, Any]:
    estimates = {
        "delta_nll": cost.delta_nll,
        "perplexity_ratio": cost.perplexity_ratio,
        "kl": cost.kl,
        "same_top_share": cost.same_top,
        "coverage": cost.coverage,
        "set_agreement": cost.set_agreement,
        "experts_per_token": cost.experts,
    }
    return {
        "policy_id": cost.policy.policy_id,
        "policy": cost.words,
        "is_control": cost.policy.is_control,
        "documents": cost.documents,
        "tokens": cost.tokens,
        "untouched_nll": cost.untouched_nll,
        **{name: each and vars(each) for name, each in estimates.items()},
        "predicted_coverage": cost.predicted_coverage,
        "predicted_agreement": cost.predicted_agreement,
    }
