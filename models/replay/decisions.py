"""What a policy is asked, and what it answers: the routing of a batch's tokens in one MoE layer."""

from dataclasses import dataclass
from typing import Protocol

import torch

from gatehouse.models.replay.selection import RouterRule
from gatehouse.models.routers import RouterSite


@dataclass(frozen=True, eq=False)
class Tokens:
    """The T real tokens of a batch, each an int64 tensor [T].

    previous_ids: the token before, -1 for the first of a window.
    """

    sample_ids: torch.Tensor
    positions: torch.Tensor
    token_ids: torch.Tensor
    previous_ids: torch.Tensor


@dataclass(frozen=True, eq=False)
class Replacement:
    """A policy's answer, in the order of the decision's tokens.

    ids [T, k] integers, distinct in a row; weights [T, k] as the block is to apply them, 0 where it
    should not use the expert; is_replaced [T] booleans. Rows where that is False keep the router's
    routing bit for bit, whatever ids and weights say there.
    """

    ids: torch.Tensor
    weights: torch.Tensor
    is_replaced: torch.Tensor


@dataclass(frozen=True, eq=False)
class Decision:
    """What a router decided for T tokens.

    moe_index: the running number of the MoE layer; logits [T, E]; ids [T, k] int64 and weights
    [T, k] as in `readers.Routing`; rule: what the router would give other experts. All tensors are
    on the router's device.
    """

    moe_index: int
    tokens: Tokens
    logits: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    rule: RouterRule

    def keep(self) -> Replacement:
        """Return the answer that replaces nothing."""
        nothing = torch.zeros(len(self.ids), dtype=torch.bool, device=self.ids.device)
        return Replacement(self.ids, self.weights, nothing)

    def first_experts(self, counts: torch.Tensor) -> Replacement:
        """Return the routing by fewer experts, the heaviest of each token, weighted by the rule.

        Args:
            counts: [T] integers in [1, k]; tokens with k keep the router's routing.
        """
        order = self.weights.argsort(dim=1, descending=True, stable=True)
        ids = self.ids.gather(1, order)
        weights = self.weights.gather(1, order)
        most = ids.shape[1]
        for count in range(1, most):
            chosen = counts == count
            if chosen.any():
                fewer = torch.zeros_like(weights)
                fewer[:, :count] = self.rule.weights_of(ids[:, :count])
                weights = torch.where(chosen.unsqueeze(1), fewer, weights)
        return Replacement(ids, weights, counts < most)


class Policy(Protocol):
    """Says which tokens get another routing in a layer, and which."""

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse a model that the policy does not fit.

        Raises:
            GatehouseError: it holds other layers or experts.
        """

    def replace(self, decision: Decision) -> Replacement:
        """Return the routing to run.

        Raises:
            GatehouseError: the policy needs the router's rule, which is not known.
        """
