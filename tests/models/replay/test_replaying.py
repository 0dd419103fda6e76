"""What runs is what a policy says, for the tokens that it names, and nothing else."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap
from gatehouse.models.replay.decisions import Replacement
from gatehouse.models.replay.policies import InLayers, OwnRouting, RandomSets, Untouched
from gatehouse.models.replay.replaying import Replay
from gatehouse.models.replay.tables import Entries, TokenTable
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.builders import BUILDERS
from tests.models.families.observation import random_windows
from tests.models.families.replaying import Policy


class Spied(Policy):
    """Keeps every decision, and answers as another policy does."""

    def __init__(self, policy) -> None:
        self.policy = policy
        self.decisions = []

    def replace(self, decision) -> Replacement:
        self.decisions.append(decision)
        return self.policy.replace(decision)


def run(model, policy, windows):
    with Replay(model, policy) as replay:
        return replay.run(windows)


def test_untouched_is_the_plain_forward_pass(loaded, windows, untouched):
    token_ids, mask = pad(windows)
    with torch.inference_mode():
        plain = loaded.model(input_ids=token_ids, attention_mask=mask.long(), use_cache=False)
    assert torch.equal(untouched.hidden, plain.last_hidden_state[mask])


def test_a_decision_is_what_capture_lands(loaded, windows, untouched):
    with RoutingTap(loaded.model) as tap:
        captured = tap.route(windows)
    spied = Spied(Untouched())
    run(loaded.model, spied, windows)
    for decision, layer in zip(spied.decisions, captured, strict=True):
        order = decision.weights.argsort(dim=1, descending=True, stable=True)
        assert np.array_equal(decision.ids.gather(1, order).numpy(), layer.experts)
        assert np.array_equal(decision.weights.gather(1, order).half().numpy(), layer.weights)


def test_a_decision_knows_its_tokens(loaded, windows):
    spied = Spied(Untouched())
    run(loaded.model, spied, windows)
    tokens = spied.decisions[0].tokens
    assert tokens.sample_ids.tolist() == [4] * 23 + [9] * 11
    assert tokens.positions.tolist() == [*range(23), *range(11)]
    for start, window in zip((0, 17, 23), windows):
        length = len(window.token_ids)
        assert tokens.token_ids[start : start + length].tolist() == window.token_ids
        assert tokens.previous_ids[start : start + length].tolist() == [-1, *window.token_ids[:-1]]


def test_padding_is_never_replaced(loaded, windows):
    """The rows that are pads reach the experts as the router routed them."""

    def called(policy):
        calls = []
        with Replay(loaded.model, policy) as replay:
            # after the replay's own hook, which was registered before
            handle = replay.sites[0].experts.register_forward_pre_hook(
                lambda module, arguments: calls.append(arguments[1:])
            )
            replay.run(windows)
            handle.remove()
        return calls[0]

    real = pad(windows)[1].flatten()
    assert not real.all()
    (own_ids, own_weights), (ids, weights) = called(Untouched()), called(RandomSets())
    assert torch.equal(own_ids[~real], ids[~real])
    assert torch.equal(own_weights[~real], weights[~real])
    assert (own_ids[real] != ids[real]).any()


def test_what_a_document_gets_does_not_depend_on_its_batch(loaded, windows):
    together = run(loaded.model, RandomSets(), windows).layers
    alone = run(loaded.model, RandomSets(), windows[2:]).layers
    for whole, part in zip(together, alone):
        assert torch.equal(whole.ids[23:], part.ids)


def test_a_layer_beyond_the_replaced_one_routes_what_reaches_it(loaded, windows, untouched):
    replayed = run(loaded.model, InLayers(RandomSets(), frozenset({1})), windows)
    own = [torch.equal(a.own_ids, b.own_ids) for a, b in zip(replayed.layers, untouched.layers)]
    assert own == [True, True, False]
    assert [layer.is_replaced.all().item() for layer in replayed.layers] == [False, True, False]


def test_nothing_stays_behind(loaded, windows, untouched):
    def hooks():
        modules = loaded.model.modules()
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in modules)

    before = hooks()
    with Replay(loaded.model, RandomSets()) as replay:
        assert hooks() == before + 2 * len(replay.sites)
        replay.run(windows)
        # another forward pass meanwhile goes through untouched
        token_ids, mask = pad(windows)
        with torch.inference_mode():
            plain = loaded.model(input_ids=token_ids, attention_mask=mask.long(), use_cache=False)
    assert torch.equal(plain.last_hidden_state[mask], untouched.hidden)
    assert hooks() == before


def test_a_policy_that_fails_leaves_nothing_behind(loaded, windows, untouched):
    class Fails(Policy):
        def replace(self, decision):
            raise GatehouseError("no")

    replay = Replay(loaded.model, Fails())
    for _ in range(2):
        with pytest.raises(GatehouseError, match="no"), replay:
            replay.run(windows)
    assert torch.equal(run(loaded.model, OwnRouting(), windows).hidden, untouched.hidden)


def test_a_replay_that_was_never_entered_says_so(loaded, windows):
    with pytest.raises(GatehouseError, match="0 of 3 MoE layers were seen"):
        Replay(loaded.model, OwnRouting()).run(windows)


@pytest.mark.parametrize("family", ["doge", "jetmoe", "llama4", "switch_transformers"])
def test_four_families_are_refused_by_name(family):
    with pytest.raises(GatehouseError, match=f"^{family} cannot be replayed: .+; name a model of"):
        Replay(BUILDERS[family](), OwnRouting())


def test_a_looped_block_is_replaced_each_time_that_it_runs():
    model = BUILDERS["inkling2_loop"]()
    replay = Replay(model, OwnRouting())
    looped = [site for site in replay.sites if site.turn == 1]
    assert looped, "no block of this model runs twice"
    only = InLayers(RandomSets(), frozenset({looped[0].moe_index}))
    replayed = run(model, only, random_windows([24]))
    assert [layer.is_replaced.any().item() for layer in replayed.layers] == [
        site.moe_index == looped[0].moe_index for site in replay.sites
    ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_replays_its_own_routing_bit_for_bit(tiny_mixtral, windows, dtype):
    model = resolve(str(tiny_mixtral), dtype=dtype).load().model
    assert torch.equal(
        run(model, OwnRouting(), windows).hidden, run(model, Untouched(), windows).hidden
    )


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_a_quantised_model_replays_its_own_routing_and_runs_a_table(
    tiny_mixtral, windows, quantization
):
    model = resolve(str(tiny_mixtral), dtype="float32", quantize=quantization).load().model
    plain = run(model, Untouched(), windows)
    assert torch.equal(run(model, OwnRouting(), windows).hidden, plain.hidden)
    assert not torch.equal(run(model, RandomSets(), windows).hidden, plain.hidden)
    ids, known = torch.tensor([0, 1]).expand(60, 3, 2), torch.ones(60, 3, dtype=torch.bool)
    for weights in (torch.full((60, 3, 2), 0.5), None):
        replayed = run(model, TokenTable(Entries(ids, known, weights)), windows)
        assert all((layer.ids == torch.tensor([0, 1])).all() for layer in replayed.layers)
        assert (replayed.hidden - plain.hidden).abs().amax(dim=1).min() > 1e-3
