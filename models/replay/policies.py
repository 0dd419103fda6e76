"""Policies that follow a rule: the controls, fewer experts, and experts that are switched off."""

from dataclasses import dataclass
from typing import Protocol

import torch

from gatehouse.models.replay.decisions import Decision, Policy, Replacement, Tokens
from gatehouse.models.routers import RouterSite
from gatehouse.models.scoring import SCORING, distribution
from gatehouse.warehouse.errors import GatehouseError

GOLDEN = -7046029254386353131
MIX = (-4658895280553007687, -7723592293110705685)
"""Constants of SplitMix64 (doi:10.1145/2714064.2660195) as signed integers."""


class _Fits:
    """A policy that fits every model."""

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse nothing."""


@dataclass(frozen=True)
class Untouched(_Fits):
    """Replaces nothing."""

    def replace(self, decision: Decision) -> Replacement:
        """Return the router's routing."""
        return decision.keep()


@dataclass(frozen=True)
class OwnRouting(_Fits):
    """Control: replaces every token's routing by itself, which changes no bit of the output."""

    def replace(self, decision: Decision) -> Replacement:
        """Return copies of the router's ids and weights."""
        every = torch.ones(len(decision.ids), dtype=torch.bool, device=decision.ids.device)
        return Replacement(decision.ids.clone(), decision.weights.clone(), every)


class AdaptiveK(Policy, Protocol):
    """A policy that runs fewer experts for some tokens, the heaviest of each."""

    def counts(self, decision: Decision) -> torch.Tensor:
        """Return how many experts each token is to run, [T] integers in [1, k]."""


@dataclass(frozen=True)
class DropBelow(_Fits):
    """Adaptive k: experts whose share of their token's weights is below `share` are not used.

    The heaviest always stays. The router's own rule weights those that do.
    """

    share: float

    def counts(self, decision: Decision) -> torch.Tensor:
        """Return [T]: a token's experts that are not light, at least one."""
        weights = decision.weights.float()
        shares = weights / weights.sum(dim=1, keepdim=True)
        return (shares >= self.share).sum(dim=1).clamp(min=1)

    def replace(self, decision: Decision) -> Replacement:
        """Return fewer experts for tokens that have a light one."""
        return decision.first_experts(self.counts(decision))


@dataclass(frozen=True)
class DropEntropy(_Fits):
    """Adaptive k: a token whose router's entropy is below `entropy` nats gets its heaviest expert.

    scoring: each MoE layer's kind of `models.scoring`, as a run's layers state it.
    """

    entropy: float
    scoring: tuple[str, ...]

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse other numbers of layers, and unknown kinds."""
        if len(self.scoring) != len(sites) or not SCORING.keys() >= set(self.scoring):
            raise GatehouseError(
                f"entropy needs a known scoring for each of {len(sites)} MoE layers, not "
                f"{', '.join(self.scoring) or 'none'}: take them from a run of this model"
            )

    def counts(self, decision: Decision) -> torch.Tensor:
        """Return [T]: 1 for tokens that the router is sure of, k for others."""
        entropy, _ = distribution(decision.logits, self.scoring[decision.moe_index])
        sure = (entropy < self.entropy).to(decision.ids.device)
        return torch.where(sure, 1, decision.ids.shape[1])

    def replace(self, decision: Decision) -> Replacement:
        """Return one expert for tokens that the router is sure of."""
        return decision.first_experts(self.counts(decision))


@dataclass(frozen=True)
class RandomDrop:
    """Control: as many experts are dropped as a policy drops, but of random tokens.

    In each window and layer, the policy's own numbers of experts are dealt out to the tokens anew,
    in an order that follows from `seed`, sample, position and layer alone. So as many experts run
    as the policy would run there: exactly as many in the first layer, and beyond it as many as for
    the routing that the model then has.
    """

    policy: AdaptiveK
    seed: int = 0

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse what the policy refuses."""
        self.policy.check(sites)

    def replace(self, decision: Decision) -> Replacement:
        """Return fewer experts for random tokens."""
        counts, tokens = self.policy.counts(decision), decision.tokens
        order = _keys(tokens, self.seed, decision.moe_index).argsort()
        # back into windows, each of which runs whole whatever else is in its batch
        windows = (tokens.previous_ids < 0).cumsum(0)
        order = order[windows[order].argsort(stable=True)]
        return decision.first_experts(torch.empty_like(counts).index_copy_(0, order, counts))


@dataclass(frozen=True, eq=False)
class MaskExperts:
    """Switches experts off; their tokens get the next best, by the router's own rule.

    is_masked: [MoE layers, E] booleans, E the largest number of experts of a layer.
    """

    is_masked: torch.Tensor

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse a mask of another shape, or one that leaves a layer fewer than k experts."""
        shape = (len(sites), max(site.num_experts for site in sites))
        if self.is_masked.shape != shape:
            raise GatehouseError(
                f"the mask is {tuple(self.is_masked.shape)}, but the model has {shape[0]} MoE "
                f"layers of {shape[1]} experts: take it from a run of this model"
            )
        for site in sites:
            left = int((~self.is_masked[site.moe_index, : site.num_experts]).sum())
            if left < site.top_k:
                raise GatehouseError(
                    f"MoE layer {site.moe_index} has {left} experts left, but every token needs "
                    f"{site.top_k}: mask at most {site.num_experts - site.top_k}"
                )

    def replace(self, decision: Decision) -> Replacement:
        """Return the next best experts for tokens that had a masked one."""
        experts = decision.logits.shape[1]
        is_masked = self.is_masked[decision.moe_index, :experts].to(decision.ids.device)
        hit = is_masked[decision.ids].any(dim=1)
        if not hit.any():
            return decision.keep()
        ids, weights = decision.rule.best_without(is_masked)
        return Replacement(ids, weights, hit)


@dataclass(frozen=True, eq=False)
class RandomSets(_Fits):
    """Control: each token gets k random experts, and the router's weights in descending order.

    The experts follow from `seed`, sample, position and layer alone. is_covered: [V, MoE layers]
    booleans, which token ids; None for all.
    """

    seed: int = 0
    is_covered: torch.Tensor | None = None

    def replace(self, decision: Decision) -> Replacement:
        """Return random experts."""
        tokens, classes = decision.tokens, decision.logits.shape[1]
        keys = _keys(tokens, self.seed, decision.moe_index).unsqueeze(1)
        draws = _mixed(keys + torch.arange(classes, device=keys.device))
        ids = draws.argsort(dim=1)[:, : decision.ids.shape[1]]
        weights = decision.weights.sort(dim=1, descending=True).values
        covered = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
        if self.is_covered is not None:
            known = tokens.token_ids.to(self.is_covered.device)
            covered = self.is_covered[known, decision.moe_index].to(ids.device)
        return Replacement(ids, weights, covered)


@dataclass(frozen=True)
class InLayers:
    """Another policy in some MoE layers only, given by their running numbers."""

    policy: Policy
    moe_indices: frozenset[int]

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse layers that the model does not have, and what the other policy refuses."""
        if absent := self.moe_indices - set(range(len(sites))):
            raise GatehouseError(
                f"there is no MoE layer {min(absent)}: the model has 0 to {len(sites) - 1}"
            )
        self.policy.check(sites)

    def replace(self, decision: Decision) -> Replacement:
        """Return the other policy's answer, or the router's routing."""
        inside = decision.moe_index in self.moe_indices
        return self.policy.replace(decision) if inside else decision.keep()


def _keys(tokens: Tokens, seed: int, moe_index: int) -> torch.Tensor:
    """Return [T] integers that look random, of each token's place and the layer."""
    keys = torch.full_like(tokens.sample_ids, seed)
    for part in (tokens.sample_ids, tokens.positions):
        keys = _mixed(keys ^ part)
    return _mixed(keys + moe_index)


def _mixed(keys: torch.Tensor) -> torch.Tensor:
    """Return integers that look random, the same for the same keys (SplitMix64)."""
    mixed = keys + GOLDEN
    for factor, shift in zip(MIX, (30, 27), strict=True):
        mixed = (mixed ^ _shifted(mixed, shift)) * factor
    return mixed ^ _shifted(mixed, 31)


def _shifted(keys: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the 64 bits moved to the right, with zeros on the left."""
    return (keys >> bits) & (2 ** (64 - bits) - 1)
