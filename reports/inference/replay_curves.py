"""Costs of replays as charts draw them: policies of a kind as a curve, on panels that compare."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from gatehouse.reports.inference.replay_costs import TARGET, ReplayCost
from gatehouse.warehouse.replays import (
    ANOTHER_TOKEN,
    BIGRAMS,
    DROP_BELOW,
    DROP_ENTROPY,
    MASK,
    OWN,
    RANDOM,
    RANDOM_DROP,
    RANDOM_MASK,
    ROUTING_OF,
    TOKENS,
    ReplayPolicy,
)

TARGET_NATS = math.log(TARGET)

FAR = 4
"""A control that costs more than so many times the costliest policy would hide the others."""

RULES = ("tokens by share of a set", "tokens by entropy (VAR)", "most frequent tokens")
"""By what tables of tokens are chosen, as charts call them."""

NAMES = {
    BIGRAMS: "bigrams",
    ROUTING_OF: "another run's routing",
    OWN: "own routing",
    RANDOM: "random experts",
    ANOTHER_TOKEN: "another token's entry",
    DROP_BELOW: "below a weight",
    DROP_ENTROPY: "below an entropy",
    RANDOM_DROP: "as many at random",
    RANDOM_MASK: "at random",
}
"""Kinds of policies as charts call them; those of tokens and masks have one for each rule."""


@dataclass(frozen=True)
class Curve:
    """Policies of one kind in ascending order of `Panel.place`, under one name."""

    name: str
    is_control: bool
    costs: list[ReplayCost]


@dataclass(frozen=True)
class Panel:
    """Curves over one axis: `place` gives where a policy stands on it.

    `most` is the largest cost to show, in nats: the target and all policies are within it, and so
    are controls that can be compared; the others lie beyond it.
    """

    stem: str
    title: str
    axis: str
    place: Callable[[ReplayCost], float]
    curves: list[Curve]
    most: float

    @property
    def least(self) -> float:
        """The smallest cost to show: 0, or less where a policy lowers the loss."""
        return min(0.0, *(ends(cost)[0] for curve in self.curves for cost in curve.costs))

    @property
    def beyond(self) -> list[ReplayCost]:
        """Controls that cost more than the axis shows, the cheapest first."""
        every = (cost for curve in self.curves for cost in curve.costs)
        return sorted(
            (cost for cost in every if cost.delta_nll.value > self.most),
            key=lambda cost: cost.delta_nll.value,
        )


KINDS = (
    (
        "tables",
        "Looked up instead of routed",
        "Router decisions covered",
        lambda cost: cost.coverage.value,
        (TOKENS, BIGRAMS, ROUTING_OF, OWN, RANDOM, ANOTHER_TOKEN),
    ),
    (
        "dropped",
        "Fewer experts a token",
        "Experts a token and layer",
        lambda cost: cost.experts.value,
        (DROP_BELOW, DROP_ENTROPY, RANDOM_DROP),
    ),
    (
        "masked",
        "Experts switched off",
        "Experts of each layer off",
        lambda cost: float(cost.policy.masked_experts or 0),
        (MASK, RANDOM_MASK),
    ),
)

LAYERS = "layers"
ONE_LAYER = ", MoE layer "


def panels(costs: list[ReplayCost]) -> list[Panel]:
    """Return what to draw, without panels of controls alone.

    Args:
        costs: of `replay_costs`.
    """
    of_layers = [cost for cost in costs if overruled_layer(cost.policy) is not None]
    others = [cost for cost in costs if overruled_layer(cost.policy) is None]
    found = []
    for stem, title, axis, place, kinds in KINDS:
        own = [cost for cost in others if cost.policy.kind in kinds]
        found.append(_panel(stem, title, axis, place, own, _name))
    found.append(_panel(LAYERS, "One layer overruled", "MoE layer", _layer, of_layers, _whole_name))
    return [panel for panel in found if panel]


def overruled_layer(policy: ReplayPolicy) -> int | None:
    """Return the only MoE layer that a policy overrules, None if it overrules several."""
    layers = policy.moe_indices
    return layers[0] if layers is not None and len(layers) == 1 else None


def _layer(cost: ReplayCost) -> float:
    layer = overruled_layer(cost.policy)
    assert layer is not None
    return float(layer)


def _name(cost: ReplayCost) -> str:
    return curve_name(cost.policy)


def _whole_name(cost: ReplayCost) -> str:
    return cost.words.rpartition(ONE_LAYER)[0] or cost.words


def _panel(
    stem: str,
    title: str,
    axis: str,
    place: Callable[[ReplayCost], float],
    own: list[ReplayCost],
    name: Callable[[ReplayCost], str],
) -> Panel | None:
    chosen = [cost for cost in own if not cost.policy.is_control]
    if not chosen:
        return None
    most = max(1.2 * TARGET_NATS, *(ends(cost)[1] for cost in chosen))
    near = [ends(cost)[1] for cost in own if cost.delta_nll.value <= FAR * most]
    return Panel(stem, title, axis, place, _curves(own, place, name), max(most, *near))


def _curves(
    costs: list[ReplayCost],
    place: Callable[[ReplayCost], float],
    name: Callable[[ReplayCost], str],
) -> list[Curve]:
    by_name: dict[str, list[ReplayCost]] = {}
    for cost in sorted(costs, key=lambda cost: cost.policy.is_control):
        by_name.setdefault(name(cost), []).append(cost)
    order = sorted(by_name, key=lambda each: _order(by_name[each][0]))
    return [
        Curve(each, by_name[each][0].policy.is_control, sorted(by_name[each], key=place))
        for each in order
    ]


def _order(cost: ReplayCost) -> tuple[bool, tuple[int, int, str]]:
    return cost.policy.is_control, _rank(cost)


def _rank(cost: ReplayCost) -> tuple[int, int, str]:
    kinds, name = [kind for *_, each in KINDS for kind in each], curve_name(cost.policy)
    rule = next((place for place, each in enumerate(RULES) if name.startswith(each)), len(RULES))
    return kinds.index(cost.policy.kind), rule, name


def curve_name(policy: ReplayPolicy) -> str:
    """Return what charts call policies that differ only in how far they go."""
    if policy.kind == TOKENS:
        by_share, by_entropy, by_number = RULES
        name = by_share
        if policy.table_size is not None:
            name = by_number
        elif policy.entropy_threshold is not None:
            name = by_entropy
    elif policy.kind == MASK:
        name = f"least {policy.ranked_by}"
    else:
        name = NAMES[policy.kind]
    if policy.ids_only:
        name += ", router's weights"
    if policy.moe_indices is not None:
        several = "s" if len(policy.moe_indices) > 1 else ""
        name += f", layer{several} {', '.join(map(str, policy.moe_indices))}"
    return name


def ends(cost: ReplayCost) -> tuple[float, float]:
    """Return the ends of the interval of what a policy costs, or twice the cost without one."""
    found = cost.delta_nll
    low = found.value if found.low is None else found.low
    return low, found.value if found.high is None else found.high


def in_order(costs: list[ReplayCost]) -> list[ReplayCost]:
    """Return costs as a table lists them: kind by kind, by how far they go, controls last."""
    ranked = {
        id(cost): (cost.policy.is_control, *_rank(cost), place(cost))
        for _, _, _, place, kinds in KINDS
        for cost in costs
        if cost.policy.kind in kinds
    }
    return sorted(costs, key=lambda cost: ranked[id(cost)])
