"""Laws of the costs, and torch's own cross-entropy over whole sequences."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from gatehouse.models.replay.decisions import Replacement
from gatehouse.models.replay.likelihoods import Head, divergence
from gatehouse.models.replay.measuring import Measured, measure
from gatehouse.models.replay.policies import DropBelow, OwnRouting, RandomSets, Untouched
from gatehouse.models.replay.replaying import Replay
from gatehouse.models.zoo import LoadedModel
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow
from tests.models.families.builders import BUILDERS
from tests.models.families.replaying import Policy

POLICIES = {"own": OwnRouting(), "random": RandomSets(), "fewer": DropBelow(0.4)}


@pytest.fixture(scope="module")
def measured(loaded, windows) -> dict[str, Measured]:
    (found,) = measure(loaded, POLICIES, [windows])
    return found


def assert_same(left: Measured, right: Measured, **tolerance) -> None:
    for field in fields(Measured):
        np.testing.assert_allclose(
            getattr(left, field.name), getattr(right, field.name), **tolerance
        )


def test_the_loss_is_torchs_cross_entropy_of_whole_sequences(loaded, windows, measured):
    for row, sample in enumerate((4, 9)):
        total = 0.0
        for window in (each for each in windows if each.sample_id == sample):
            token_ids = torch.tensor([list(window.token_ids)])
            with torch.inference_mode():
                logits = loaded.head(input_ids=token_ids).logits[0, :-1]
            total += float(F.cross_entropy(logits.double(), token_ids[0, 1:], reduction="sum"))
        assert measured["own"].nll[row] == pytest.approx(total, rel=1e-6)
        assert measured["random"].untouched_nll[row] == pytest.approx(total, rel=1e-6)


def test_a_models_own_routing_costs_nothing(measured):
    own = measured["own"]
    assert np.array_equal(own.nll, own.untouched_nll)
    assert np.array_equal(own.same_top, own.tokens)
    assert own.kl.tolist() == [0.0, 0.0]
    assert np.array_equal(own.agreed, own.covered)
    assert np.array_equal(own.undisturbed, own.covered)


def test_another_routing_costs_something(measured):
    random = measured["random"]
    assert (random.kl > 0).all()
    assert (random.same_top < random.tokens).all()
    assert (random.undisturbed[:, 0] == random.rows).all()
    assert (random.undisturbed[:, 1:] < random.rows[:, None]).all()


def test_what_is_counted_adds_up(measured):
    for name, each in measured.items():
        assert each.sample_ids.tolist() == [4, 9]
        # the first token of each window is predicted by nothing
        assert each.tokens.tolist() == [16 + 5, 10]
        assert each.rows.tolist() == [23, 11]
        rows = each.rows[:, None]
        assert (each.agreed <= each.covered).all()
        assert (each.covered <= rows).all()
        assert (each.same_top <= each.tokens).all()
        if name == "fewer":
            assert np.array_equal(each.experts_run, 2 * rows - each.covered)
        else:
            assert (each.experts_run == 2 * rows).all()
            assert (each.covered == rows).all()


@pytest.mark.parametrize("positions", [1, 7])
def test_the_size_of_chunks_changes_nothing(loaded, windows, measured, positions):
    shapes = []
    handle = loaded.head.lm_head.register_forward_hook(
        lambda module, inputs, output: shapes.append(output.shape[1])
    )
    at_once = positions * loaded.model.config.vocab_size
    (found,) = measure(loaded, POLICIES, [windows], at_once)
    handle.remove()
    assert max(shapes) == positions
    for name in POLICIES:
        assert_same(found[name], measured[name], rtol=1e-5, atol=1e-5)


def test_documents_alone_cost_what_they_cost_together(loaded, windows, measured):
    found = list(measure(loaded, POLICIES, [windows[:2], windows[2:]]))
    for name, whole in measured.items():
        joined = Measured(
            **{
                field.name: np.concatenate([getattr(part[name], field.name) for part in found])
                for field in fields(Measured)
            }
        )
        assert_same(joined, whole, rtol=1e-4, atol=1e-4)


def test_a_window_of_one_token_predicts_nothing(loaded):
    (found,) = measure(loaded, POLICIES, [[TokenWindow(3, 0, [7])]])
    for each in found.values():
        assert each.tokens.tolist() == [0]
        assert each.rows.tolist() == [1]
        assert each.nll.tolist() == each.kl.tolist() == [0.0]


def test_a_model_without_a_head_is_refused(loaded, windows):
    with pytest.raises(GatehouseError, match="MixtralModel has no language-model head"):
        list(measure(replace(loaded, head=None), POLICIES, [windows]))


@pytest.mark.parametrize(("when", "value"), [("untouched", 0.0), ("under spoiled", torch.nan)])
def test_a_likelihood_that_is_no_number_is_refused(loaded, windows, when, value):
    class Spoiled(Policy):
        def replace(self, decision):
            own = OwnRouting().replace(decision)
            return Replacement(own.ids, own.weights + value, own.is_replaced)

    head = loaded.head.lm_head.weight
    before = head[0].detach().clone()
    with torch.no_grad():
        head[0] = torch.nan if when == "untouched" else before
    with pytest.raises(GatehouseError, match=f"sample 4 has a likelihood of 0 or NaN {when}"):
        list(measure(loaded, {"spoiled": Spoiled()}, [windows]))
    with torch.no_grad():
        head[0] = before


def test_divergence_is_that_of_float64_and_never_negative():
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(64, 500, generator=generator)
    own = logits.log_softmax(dim=1)
    assert (divergence(own, own.clone()) == 0).all()
    for apart in (1e-7, 1e-3, 1.0):
        noise = apart * torch.randn(64, 500, generator=generator)
        other = (logits + noise).log_softmax(dim=1)
        found = divergence(own, other)
        assert (found >= 0).all()
        p, q = own.double(), other.double()
        exact = F.kl_div(q, p, reduction="none", log_target=True).sum(dim=1)
        torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-6)


def test_a_token_that_is_impossible_adds_nothing_to_the_divergence():
    own = torch.tensor([[0.0, -torch.inf]])
    other = torch.tensor([[0.5, 0.5]]).log()
    assert float(divergence(own, other)) == pytest.approx(np.log(2))
    assert float(divergence(other, own)) == np.inf


@pytest.mark.parametrize("family", ["cohere2_moe", "granitemoe", "gemma4", "minimax", "jamba"])
def test_scales_and_caps_of_the_head_are_in_the_likelihoods(family):
    """The head's own logits of the whole sequence, in chunks."""
    backbone = BUILDERS[family]()
    config = backbone.config
    if family == "gemma4":
        config.text_config.final_logit_softcapping = 2.0
    torch.manual_seed(0)
    auto = AutoModelForImageTextToText if family == "gemma4" else AutoModelForCausalLM
    head = auto.from_config(config).eval()
    loaded = LoadedModel(head.base_model, None, head)
    token_ids = torch.arange(5, 29)
    window = TokenWindow(0, 0, token_ids.tolist())
    with Replay(loaded.model, Untouched()) as replay:
        replayed = replay.run([window])
    with torch.inference_mode():
        whole = head(input_ids=token_ids.unsqueeze(0), use_cache=False).logits[0]
    found = [Head(loaded).log_probabilities(replayed, rows) for rows in torch.arange(24).split(7)]
    torch.testing.assert_close(torch.cat(found), whole.float().log_softmax(dim=1))
    assert "forward" not in vars(loaded.model)
