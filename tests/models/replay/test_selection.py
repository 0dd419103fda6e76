"""The router's rule for other experts, written out independently for some families."""

import pytest
import torch

from gatehouse.models.replay.policies import MaskExperts
from gatehouse.models.replay.replaying import Replay
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.builders import BUILDERS, VARIANTS
from tests.models.families.observation import random_windows
from tests.models.families.replaying import Policy


def softmax_normalised(logits, ids):
    chosen = logits.softmax(dim=1).gather(1, ids)
    return chosen / chosen.sum(dim=1, keepdim=True)


def sigmoid_normalised(logits, ids):
    chosen = logits.sigmoid().gather(1, ids)
    return chosen / chosen.sum(dim=1, keepdim=True)


RULES = {
    "mixtral": softmax_normalised,
    "olmoe": lambda logits, ids: logits.softmax(dim=1).gather(1, ids),
    "gpt_oss": lambda logits, ids: logits.gather(1, ids).softmax(dim=1),
    "dbrx": softmax_normalised,
    # their configs scale by 1.5
    "deepseek_v3": lambda logits, ids: 1.5 * sigmoid_normalised(logits, ids),
    "solar_open": lambda logits, ids: 1.5 * sigmoid_normalised(logits, ids),
    "minimax_m2": sigmoid_normalised,
}


class Ask(Policy):
    """Keeps what `question` says of every decision."""

    def __init__(self, question) -> None:
        self.question = question
        self.answers = []

    def replace(self, decision):
        self.answers.append(self.question(decision))
        return decision.keep()


def asked(family, question, build=None):
    policy = Ask(question)
    model = (build or BUILDERS[family])()
    with Replay(model, policy) as replay:
        replay.run(random_windows([24]))
    return policy.answers


@pytest.mark.parametrize("family", RULES)
def test_other_experts_get_the_weights_of_the_familys_rule(family):
    def question(decision):
        experts = decision.logits.shape[1]
        for number in range(1, decision.ids.shape[1] + 1):
            ids = (decision.ids[:, :number] + 1) % experts
            weights = decision.rule.weights_of(ids)
            torch.testing.assert_close(weights, RULES[family](decision.logits, ids))
        return True

    assert asked(family, question)


@pytest.mark.parametrize("family", ["mixtral", "olmoe", "gpt_oss", "dbrx"])
def test_without_a_bias_the_best_of_those_left_have_the_highest_logits(family):
    def question(decision):
        is_masked = torch.zeros(decision.logits.shape[1], dtype=torch.bool)
        is_masked[decision.ids[0, 0]] = True
        ids, weights = decision.rule.best_without(is_masked)
        left = decision.logits.masked_fill(is_masked, -torch.inf)
        assert torch.equal(ids, left.topk(ids.shape[1], dim=1).indices)
        torch.testing.assert_close(weights, RULES[family](decision.logits, ids))
        return True

    assert asked(family, question)


def test_a_selection_bias_chooses_among_those_left_but_weights_nothing():
    model = BUILDERS["minimax_m2"]()
    sites = Replay(model, MaskExperts(torch.zeros(3, 8, dtype=torch.bool))).sites
    for site in sites:
        bias = torch.zeros(8)
        bias[[1, 6]] = torch.tensor([9.0, 8.0])
        owner = next(m for m in (site.router, site.reader.block) if _bias(m) is not None)
        _bias(owner).copy_(bias)

    def question(decision):
        assert {1, 6} == set(decision.ids.flatten().tolist())
        is_masked = torch.zeros(8, dtype=torch.bool)
        is_masked[1] = True
        ids, weights = decision.rule.best_without(is_masked)
        assert (ids == 6).any(dim=1).all()
        torch.testing.assert_close(weights, sigmoid_normalised(decision.logits, ids))
        return True

    assert asked("minimax_m2", question, lambda: model)


def _bias(module):
    return getattr(module, "e_score_correction_bias", None)


def test_a_group_limit_never_brings_a_masked_expert_back():
    """One of two groups of four is open to each token; three of its experts are masked."""

    def question(decision):
        for group in (0, 4):
            is_masked = torch.zeros(8, dtype=torch.bool)
            is_masked[group : group + 3] = True
            ids, weights = decision.rule.best_without(is_masked)
            assert not is_masked[ids].any()
            assert weights.isfinite().all()
        return True

    for family in ("deepseek_v2", "deepseek_v3", "mistral4"):
        assert asked(family, question)
    assert asked("deepseek_v2", question, VARIANTS["deepseek_v2, greedy"])


def test_a_rule_that_is_not_known_is_refused_with_a_way_out():
    def question(decision):
        with pytest.raises(
            GatehouseError, match=r"layers\.\d\..* does not choose its experts by top-k.*weights,"
        ):
            decision.rule.weights_of(decision.ids)
        return True

    assert asked("phimoe", question)


def test_a_block_that_changes_the_routers_weights_is_not_taken_for_its_rule():
    """What the experts were called with is compared with what the router gives again."""
    model = BUILDERS["mixtral"]()
    for site in Replay(model, Ask(None)).sites:
        site.experts.register_forward_pre_hook(
            lambda module, arguments: (*arguments[:2], arguments[2] * 2)
        )

    def question(decision):
        with pytest.raises(GatehouseError, match="does not choose its experts by top-k"):
            decision.rule.weights_of(decision.ids)
        return True

    assert asked("mixtral", question, lambda: model)
