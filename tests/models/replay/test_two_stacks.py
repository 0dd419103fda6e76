"""Encoder-decoder models: the same tokens in both stacks, and the loss of the decoder."""

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from gatehouse.models.capture import RoutingTap
from gatehouse.models.experts.mending import mend
from gatehouse.models.replay.likelihoods import scoring_class
from gatehouse.models.replay.measuring import measure
from gatehouse.models.replay.policies import DropBelow, InLayers, OwnRouting, RandomSets, Untouched
from gatehouse.models.replay.replaying import Replay
from gatehouse.models.replay.tables import Entries, GivenRouting, TokenTable
from gatehouse.models.zoo import LoadedModel, resolve
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.builders import BUILDERS
from tests.models.replay.test_replaying import Spied
from tests.models.test_generation import DEMO

LAYERS, EXPERTS = 4, 8


@pytest.fixture(scope="module")
def two_stacks() -> LoadedModel:
    """A tiny NLLB-MoE with its head: two MoE layers in the encoder, two in the decoder."""
    backbone = BUILDERS["nllb_moe"]()
    head = AutoModelForSeq2SeqLM.from_config(backbone.config).eval()
    head.base_model.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        head.lm_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    mend(head)
    return LoadedModel(head.base_model, None, head)


def run(loaded, policy, windows):
    with Replay(loaded.model, policy) as replay:
        return replay.run(windows)


def test_both_stacks_ask_for_the_same_tokens_and_keep_their_own_by_default(two_stacks, windows):
    spied = Spied(OwnRouting())
    own = run(two_stacks, spied, windows)
    assert [decision.moe_index for decision in spied.decisions] == [0, 1, 2, 3]
    for decision in spied.decisions:
        assert decision.tokens.sample_ids.tolist() == [4] * 23 + [9] * 11
        assert decision.tokens.token_ids[:17].tolist() == windows[0].token_ids
    assert torch.equal(own.hidden, run(two_stacks, Untouched(), windows).hidden)
    with RoutingTap(two_stacks.model) as tap:
        assert [site.stack for site in tap.sites] == ["encoder"] * 2 + ["decoder"] * 2
        for decision, layer in zip(spied.decisions, tap.route(windows), strict=True):
            order = decision.weights.argsort(dim=1, descending=True, stable=True)
            assert decision.ids.gather(1, order).tolist() == layer.experts.tolist()


def test_the_decoders_start_is_no_token_and_keeps_its_routing(two_stacks, windows):
    def called(policy):
        calls = []
        with Replay(two_stacks.model, policy) as replay:
            handle = replay.sites[2].experts.register_forward_pre_hook(
                lambda module, arguments: calls.append(arguments[1].reshape(3, 18, 2))
            )
            replay.run(windows)
            handle.remove()
        return calls[0]

    only = InLayers(RandomSets(), frozenset({2}))
    own, replaced = called(Untouched()), called(only)
    assert torch.equal(own[:, 0], replaced[:, 0])
    assert (own[0, 1:] != replaced[0, 1:]).any()
    # and pads after a short window
    assert torch.equal(own[1, 7:], replaced[1, 7:])


def test_the_encoders_routing_acts_on_the_decoder(two_stacks, windows):
    plain = run(two_stacks, Untouched(), windows)
    replayed = run(two_stacks, InLayers(RandomSets(), frozenset({0})), windows)
    assert torch.equal(plain.layers[0].own_ids, replayed.layers[0].own_ids)
    assert not torch.equal(plain.layers[1].own_ids, replayed.layers[1].own_ids)
    assert (plain.hidden - replayed.hidden).abs().amax(dim=1).min() > 1e-3


def test_a_table_has_entries_for_the_layers_of_both(two_stacks, windows):
    generator = torch.Generator().manual_seed(0)
    ids = torch.rand(60, LAYERS, EXPERTS, generator=generator).argsort(dim=2)[..., :2]
    weights = torch.rand(60, LAYERS, 2, generator=generator)
    entries = Entries(ids, torch.ones(60, LAYERS, dtype=torch.bool), weights)
    token_ids = torch.tensor([token for window in windows for token in window.token_ids])
    for moe_index, layer in enumerate(run(two_stacks, TokenTable(entries), windows).layers):
        assert torch.equal(layer.ids, ids[token_ids, moe_index])
        assert torch.equal(layer.weights, weights[token_ids, moe_index])


def test_its_own_routing_by_place_changes_nothing(two_stacks, windows):
    plain = run(two_stacks, Untouched(), windows)
    ids = torch.stack([layer.ids for layer in plain.layers], dim=1)
    weights = torch.stack([layer.weights for layer in plain.layers], dim=1)
    samples = torch.tensor([w.sample_id for w in windows for _ in w.token_ids])
    positions = torch.tensor([w.start + n for w in windows for n in range(len(w.token_ids))])
    known = torch.ones(ids.shape[:2], dtype=torch.bool)
    for given in (weights, None):
        policy = GivenRouting(samples, positions, Entries(ids, known, given))
        assert torch.equal(run(two_stacks, policy, windows).hidden, plain.hidden)


def test_the_loss_is_the_decoders_cross_entropy(two_stacks, windows):
    """Of each token after the first: the start token's prediction counts nowhere."""
    policies = {"own": OwnRouting(), "fewer": DropBelow(0.45), "random": RandomSets()}
    (found,) = measure(two_stacks, policies, [windows], logits_at_once=7 * 128)
    start = two_stacks.model.config.decoder_start_token_id
    for row, sample in enumerate((4, 9)):
        total = 0.0
        for window in (each for each in windows if each.sample_id == sample):
            token_ids = torch.tensor([list(window.token_ids)])
            shifted = torch.cat([torch.tensor([[start]]), token_ids], dim=1)
            with torch.inference_mode():
                logits = two_stacks.head(input_ids=token_ids, decoder_input_ids=shifted).logits[0]
            total += float(
                F.cross_entropy(logits[1:-1].double(), token_ids[0, 1:], reduction="sum")
            )
        assert found["own"].nll[row] == pytest.approx(total, rel=1e-5)
    assert found["own"].kl.tolist() == [0.0, 0.0]
    assert (found["random"].kl > 0).all()
    fewer = found["fewer"]
    assert (fewer.covered > 0).all()
    assert (fewer.experts_run == 2 * fewer.rows[:, None] - fewer.covered).all()


def test_a_plan_is_loaded_with_the_head_that_says_what_it_loses(two_stacks, windows, tmp_path):
    two_stacks.head.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(DEMO).save_pretrained(tmp_path)
    plan = resolve(str(tmp_path))
    loaded = plan.load(head=scoring_class(plan))
    (found,) = measure(loaded, {"own": OwnRouting()}, [windows])
    (expected,) = measure(two_stacks, {"own": OwnRouting()}, [windows])
    assert found["own"].nll.tolist() == expected["own"].nll.tolist()


@pytest.mark.parametrize("family", ["openai_privacy_filter", "diffusion_gemma"])
def test_models_without_a_head_over_their_text_are_refused_before_loading(family, tmp_path):
    BUILDERS[family]().save_pretrained(tmp_path)
    with pytest.raises(GatehouseError, match="no language-model head over the text that it reads"):
        scoring_class(resolve(str(tmp_path)))
