"""What is checked of replays for every family: nothing changes by itself, and a swap does."""

import pytest
import torch
from torch import nn

from gatehouse.models.replay.decisions import Decision, Replacement
from gatehouse.models.replay.policies import OwnRouting
from gatehouse.models.replay.replaying import Replay
from gatehouse.models.routers import RouterSite
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.examination import hidden_of, plain_call
from tests.models.families.observation import LENGTH, Observed, block_path

SWAPPED = 5


class Policy:
    """A policy of a test, which fits every model."""

    def check(self, sites: list[RouterSite]) -> None:
        """Refuse nothing."""


class Swap(Policy):
    """Gives one token other experts in one layer, with the same weight each."""

    def __init__(self, moe_index: int) -> None:
        self.moe_index = moe_index

    def replace(self, decision: Decision) -> Replacement:
        answer = decision.keep()
        if decision.moe_index != self.moe_index:
            return answer
        own = decision.ids[SWAPPED]
        # the last classes may compute nothing
        others = [expert for expert in range(decision.logits.shape[1]) if expert not in own]
        ids = decision.ids.clone()
        ids[SWAPPED] = torch.tensor(others[: len(own)])
        answer.is_replaced[SWAPPED] = True
        return Replacement(ids, torch.full_like(decision.weights, 0.5), answer.is_replaced)


class AskTheRule(Policy):
    """Compares the router's rule with what the router did; `known` has an answer per layer."""

    def __init__(self) -> None:
        self.known: list[bool] = []

    def replace(self, decision: Decision) -> Replacement:
        try:
            again = decision.rule.weights_of(decision.ids)
        except GatehouseError as refusal:
            assert "does not choose its experts by top-k" in str(refusal)
            self.known.append(False)
            return decision.keep()
        assert torch.equal(again, decision.weights)
        top_k, experts = decision.ids.shape[1], decision.logits.shape[1]
        nothing = torch.zeros(experts, dtype=torch.bool)
        for found, own in zip(
            decision.rule.best_without(nothing), (decision.ids, decision.weights)
        ):
            assert torch.equal(found, own)
        masked = nothing.index_fill(0, torch.arange(experts - top_k), True)
        left, _ = decision.rule.best_without(masked)
        assert left.sort(dim=1).values.tolist() == [list(range(experts - top_k, experts))] * len(
            left
        )
        for fewer in range(1, top_k):
            alone = decision.rule.weights_of(decision.ids[:, :fewer])
            assert alone.shape == (len(left), fewer)
            assert alone.isfinite().all()
        self.known.append(True)
        return decision.keep()


def replay_of(observed: Observed) -> str:
    """Return what of a family's routing can be replaced, once it was: "yes" if all of it can.

    "with weights" where the router's own weights for other experts are not known, in no layer or
    only some; "no" where the family is refused.

    Raises:
        AssertionError: a replay does not do what it says.
    """
    if observed.sites[0].reader.fixed:
        with pytest.raises(GatehouseError, match=f"^{observed.family} cannot be replayed: "):
            Replay(observed.model, OwnRouting())
        return "no"
    check_own_routing(observed)
    for site in (observed.sites[0], observed.sites[-1]):
        check_swap(observed, site)
    asked = AskTheRule()
    with Replay(observed.model, asked) as replay:
        replay.run(observed.windows)
    return "yes" if all(asked.known) else "with weights"


def check_own_routing(observed: Observed) -> None:
    """Replaying its own routing gives the plain forward pass's output, bit for bit."""
    part, inputs = plain_call(observed)
    with Replay(observed.model, OwnRouting()) as replay:
        replayed = replay.run(observed.windows)
    with torch.inference_mode():
        plain = part(**inputs).last_hidden_state
    assert torch.equal(replayed.hidden, observed.rows(plain))
    assert all(layer.is_replaced.all() for layer in replayed.layers)


def check_swap(observed: Observed, site: RouterSite) -> None:
    """Other experts for one token change that token's output of the block, and no other's.

    Other rows of these experts stand in matrices of another height, which round differently.
    """
    block = observed.model.get_submodule(block_path(site))
    plain = block_outputs(observed, block, OwnRouting())[site.turn]
    swapped = block_outputs(observed, block, Swap(site.moe_index))[site.turn]
    others = [row for row in range(LENGTH * len(observed.windows)) if row != SWAPPED]
    torch.testing.assert_close(swapped[others], plain[others])
    assert (swapped[SWAPPED] - plain[SWAPPED]).abs().max() > 1e-2, site.router_path


def block_outputs(observed: Observed, block: nn.Module, policy: Policy) -> list[torch.Tensor]:
    """Return a block's output rows each time that it runs."""
    outputs: list[torch.Tensor] = []
    handle = block.register_forward_hook(
        lambda module, inputs, output: outputs.append(observed.rows(hidden_of(output)).clone())
    )
    try:
        with Replay(observed.model, policy) as replay:
            replay.run(observed.windows)
    finally:
        handle.remove()
    return outputs
