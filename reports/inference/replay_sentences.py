"""Sentences on replays: which policies stay under VAR's target, and what that is worth."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gatehouse.reports.inference.cache_curve import LEAST_DOCUMENTS
from gatehouse.reports.inference.replay_costs import TARGET, Estimate, ReplayCost
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.replays import (
    BIGRAMS,
    DROP_BELOW,
    DROP_ENTROPY,
    MASK,
    OWN,
    RANDOM_MASK,
    ROUTING_OF,
    TOKENS,
)

UNDER = "under +1 % perplexity"
NO_SPEED = (
    "No speed is claimed: a replay runs through hooks, which take time of their own, and routers "
    "are a small part of a model's work."
)


@dataclass(frozen=True)
class Question:
    """What is asked of policies of some kinds: which of them passes that gains most.

    `each` and `several` are what to call them, `gain` is what is gained, the more the better, and
    `gained` says it.
    """

    kinds: tuple[str, ...]
    each: str
    several: str
    gain: Callable[[ReplayCost], float]
    gained: Callable[[ReplayCost], str]

    def asked(self, costs: Iterable[ReplayCost]) -> list[ReplayCost]:
        """Return the policies that it is asked of."""
        return [cost for cost in costs if cost.policy.kind in self.kinds]


def _covered(cost: ReplayCost) -> str:
    return f"{cost.coverage.value:.1%} of the routers' decisions"


TABLE = Question((TOKENS, BIGRAMS), "table", "tables", lambda cost: cost.coverage.value, _covered)
QUESTIONS = (
    TABLE,
    Question(
        (DROP_BELOW, DROP_ENTROPY),
        "way of dropping experts",
        "ways of dropping experts",
        lambda cost: -cost.experts.value,
        lambda cost: f"{cost.experts.value:.2f} experts a token and layer",
    ),
    Question(
        (MASK,),
        "mask",
        "masks",
        lambda cost: cost.policy.masked_experts or 0,
        lambda cost: f"{counted(cost.policy.masked_experts or 0, 'expert')} of each layer off",
    ),
    Question(
        (ROUTING_OF,),
        "routing of another run",
        "routings of other runs",
        lambda cost: cost.coverage.value,
        _covered,
    ),
)


def advice(costs: list[ReplayCost]) -> list[str]:
    """Return which policies stay under VAR's target, by kind, and what that is worth.

    Args:
        costs: of the policies that are shown, controls among them.
    """
    lines = [verdict(costs, each) for each in QUESTIONS if each.asked(costs)]
    return [*lines, *_own_routing(costs), *_worth(costs)]


def verdict(costs: list[ReplayCost], question: Question = TABLE) -> str:
    """Return which policy of these kinds gains most and stays under the target, or why none does.

    Args:
        costs: of several policies, at least one of the question's kinds.
        question: what is asked.
    """
    asked = question.asked(costs)
    tried = [cost for cost in asked if cost.coverage.value > 0]
    if not tried:
        which = (
            _named(asked[0]) if len(asked) == 1 else f"Not one of {len(asked)} {question.several}"
        )
        return f"{which} {'never' if len(asked) == 1 else 'ever'} applied to this text."
    sure = [cost for cost in tried if cost.delta_nll.low is not None]
    if not sure:
        return _of_few_documents(tried, question)
    # what was replayed over a few documents says nothing of what others were over many
    tried, controls = sure, [cost for cost in costs if cost.policy.kind == RANDOM_MASK]
    under = [cost for cost in tried if cost.stays_under]
    if not under:
        return _none_under(tried, question) + _cheaper_at_random(tried, controls)
    best = _furthest(under, question)
    beside = ""
    if len(tried) > 1:
        beside = f" Of {len(tried)} {question.several} that applied, " + (
            "it alone is there with its whole interval."
            if len(under) == 1
            else f"{len(under)} are there with their whole intervals."
        )
    further = [
        cost
        for cost in tried
        if cost.stays_under is None and question.gain(cost) > question.gain(best)
    ]
    if further:
        other = _furthest(further, question)
        beside += f" Whether {_named(other)} does cannot be told: {_found(other, question)}."
    furthest = " and goes furthest" if len(under) > 1 else ""
    return f"{_named(best)} stays {UNDER}{furthest}: {_found(best, question)}.{beside}"


def _furthest(costs: list[ReplayCost], question: Question) -> ReplayCost:
    return max(costs, key=lambda cost: (question.gain(cost), -cost.delta_nll.value))


def _none_under(tried: list[ReplayCost], question: Question) -> str:
    """Return that no policy is sure to stay under the target, or that all are sure not to."""
    cheapest = min(tried, key=lambda cost: cost.delta_nll.value)
    found = _found(cheapest, question)
    is_open = any(cost.stays_under is None for cost in tried)
    if len(tried) == 1:
        if is_open:
            return f"Whether {_named(cheapest)} stays {UNDER} cannot be told: {found}."
        return f"{_named(cheapest)} does not stay {UNDER}: {found}."
    none = "is sure to stay" if is_open else "stays"
    return (
        f"Not one of {len(tried)} {question.several} {none} {UNDER}; the cheapest is "
        f"{_named(cheapest)}: {found}."
    )


def _cheaper_at_random(tried: list[ReplayCost], controls: list[ReplayCost]) -> str:
    """Return that switching off as many experts at random costs less, where it does."""
    random = {control.policy.masked_experts: control for control in controls}
    worse = [
        cost
        for cost in tried
        if (control := random.get(cost.policy.masked_experts))
        and control.delta_nll.high is not None
        and cost.delta_nll.low is not None
        and control.delta_nll.high < cost.delta_nll.low
    ]
    if not worse:
        return ""
    few = f"{len(worse)} of {len(tried)}" if len(worse) < len(tried) else "any"
    return f" One draw of as many experts at random costs surely less than {few} of these."


def _of_few_documents(tried: list[ReplayCost], question: Question) -> str:
    few = f"With fewer than {LEAST_DOCUMENTS} documents it cannot be told what stays {UNDER}"
    within = [cost for cost in tried if cost.perplexity_ratio.value <= TARGET]
    if not within:
        return f"{few}; in these no {question.each} does."
    best = _furthest(within, question)
    return f"{few}; in these {_named(best)} does: {_found(best, question)}."


def _own_routing(costs: list[ReplayCost]) -> list[str]:
    """Return what the control changed that must change nothing."""
    own = next((cost for cost in costs if cost.policy.kind == OWN), None)
    if own is None:
        return []
    changed = own.delta_nll.value
    if changed == 0 and own.same_top.value == 1:
        return ["The router's own routing, replayed, changed nothing, as it must."]
    return [
        f"The router's own routing, replayed, changed the loss by {changed:+.2g} nats a token: "
        "differences of that size say nothing."
    ]


def _worth(costs: list[ReplayCost]) -> list[str]:
    """Return what is gained by the policies, as far as a replay can tell."""
    kinds = {cost.policy.kind for cost in TABLE.asked(costs) if cost.coverage.value > 0}
    if not kinds:
        return [NO_SPEED]
    known = "its id" if kinds == {TOKENS} else "its id and the one before"
    if len(kinds) == 2:
        known = "its id, or by that and the one before"
    return [
        "The router's work is avoided for what a table covers, and there the experts are known "
        f"before the token runs, by {known}: they can be loaded ahead. {NO_SPEED}"
    ]


def _named(cost: ReplayCost) -> str:
    return f"\N{LEFT DOUBLE QUOTATION MARK}{cost.words}\N{RIGHT DOUBLE QUOTATION MARK}"


def _found(cost: ReplayCost, question: Question) -> str:
    ratio = cost.perplexity_ratio
    return f"{question.gained(cost)}, perplexity \N{MULTIPLICATION SIGN} {interval(ratio, '.4f')}"


def interval(estimate: Estimate, form: str) -> str:
    """Return a value and its interval, where it has one."""
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value, form)
    low, high = _number(estimate.low, form), _number(estimate.high, form)
    return f"{_number(estimate.value, form)} (95% {low} to {high})"


def _number(value: float, form: str) -> str:
    text = format(value, form)
    # what rounds to 0 has no sign
    return text if float(text) else format(0.0, form)
