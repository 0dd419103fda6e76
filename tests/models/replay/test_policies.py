"""Policies by rule, each on a decision whose answer is plain."""

import pytest
import torch

from gatehouse.models.replay.policies import (
    DropBelow,
    DropEntropy,
    InLayers,
    MaskExperts,
    OwnRouting,
    RandomDrop,
    RandomSets,
    Untouched,
    _mixed,
)
from gatehouse.models.replay.replaying import Replay
from gatehouse.warehouse.errors import GatehouseError

LAYERS, EXPERTS = 3, 4


def run(loaded, policy, windows):
    with Replay(loaded.model, policy) as replay:
        return replay.run(windows)


def test_a_mask_of_nothing_changes_nothing(loaded, windows, untouched):
    nothing = torch.zeros(LAYERS, EXPERTS, dtype=torch.bool)
    replayed = run(loaded, MaskExperts(nothing), windows)
    assert torch.equal(replayed.hidden, untouched.hidden)
    assert not any(layer.is_replaced.any() for layer in replayed.layers)


def test_a_masked_expert_never_runs_and_others_keep_their_tokens(loaded, windows):
    is_masked = torch.zeros(LAYERS, EXPERTS, dtype=torch.bool)
    is_masked[:, 2] = True
    for layer in run(loaded, MaskExperts(is_masked), windows).layers:
        assert not (layer.ids == 2).any()
        hit = (layer.own_ids == 2).any(dim=1)
        assert 0 < hit.sum() < len(hit)
        assert torch.equal(layer.is_replaced, hit)
        torch.testing.assert_close(layer.weights.sum(dim=1), torch.ones(len(hit)))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (torch.zeros(2, EXPERTS, dtype=torch.bool), r"mask is \(2, 4\), but the model has 3 MoE"),
        (torch.arange(EXPERTS).expand(LAYERS, -1) < 3, "MoE layer 0 has 1 experts left.*at most 2"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(loaded, mask, said):
    with pytest.raises(GatehouseError, match=said):
        Replay(loaded.model, MaskExperts(mask))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.1])
def test_light_experts_are_dropped_and_the_heaviest_stays(loaded, windows, untouched, share):
    replayed = run(loaded, DropBelow(share), windows)
    first, plain = replayed.layers[0], untouched.layers[0]
    shares = plain.weights / plain.weights.sum(dim=1, keepdim=True)
    light = (shares < share).any(dim=1)
    assert torch.equal(first.is_replaced, light)
    kept = torch.where(light, 1, 2)
    assert torch.equal((first.weights != 0).sum(dim=1), kept)
    # Mixtral normalises what is left
    heaviest = plain.ids.gather(1, plain.weights.argmax(dim=1, keepdim=True))
    assert torch.equal(first.ids[light, :1], heaviest[light])
    assert torch.equal(first.weights[light, 0], torch.ones(int(light.sum())))
    if share == 0:
        assert torch.equal(replayed.hidden, untouched.hidden)


def test_tokens_of_low_entropy_run_one_expert(logits_of):
    for layer, logits in logits_of(DropEntropy(1.0, ("softmax",) * LAYERS)):
        p = logits.double().softmax(dim=1)
        entropy = -(p * p.log()).sum(dim=1)
        assert 0 < (entropy < 1.0).sum() < len(entropy)
        assert torch.equal(layer.is_replaced, entropy < 1.0)
        assert torch.equal((layer.weights != 0).sum(dim=1), torch.where(entropy < 1.0, 1, 2))


def test_entropy_needs_each_layers_scoring(loaded):
    with pytest.raises(GatehouseError, match="scoring for each of 3 MoE layers, not none"):
        Replay(loaded.model, DropEntropy(1.0, ()))


ADAPTIVE = [DropBelow(0.35), DropEntropy(1.0, ("softmax",) * LAYERS)]


def experts_run(layer, windows):
    """Return the sorted numbers of experts of each window's tokens."""
    counts = (layer.weights != 0).sum(dim=1).split([len(window.token_ids) for window in windows])
    return [sorted(each.tolist()) for each in counts]


@pytest.mark.parametrize("policy", ADAPTIVE)
def test_as_many_experts_of_random_tokens_are_dropped(loaded, windows, policy):
    only = frozenset({1})
    adaptive = run(loaded, InLayers(policy, only), windows).layers[1]
    control = run(loaded, InLayers(RandomDrop(policy), only), windows).layers[1]
    assert experts_run(adaptive, windows) == experts_run(control, windows)
    assert 0 < adaptive.is_replaced.sum() < len(adaptive.is_replaced)
    assert not torch.equal(adaptive.is_replaced, control.is_replaced)
    # the heaviest stays, with the weight of the router's rule
    dropped = control.is_replaced
    assert torch.equal(control.weights[dropped, 0], torch.ones(int(dropped.sum())))


def test_beyond_the_first_layer_as_many_as_the_policy_would_drop_there(loaded, windows):
    policy = DropBelow(0.35)

    class Counted(RandomDrop):
        def replace(self, decision):
            wanted.append(int((self.policy.counts(decision) < 2).sum()))
            return super().replace(decision)

    wanted = []
    layers = run(loaded, Counted(policy), windows).layers
    assert [int(layer.is_replaced.sum()) for layer in layers] == wanted


def test_which_tokens_drop_experts_follows_the_seed_and_no_batch(loaded, windows):
    policies = [RandomDrop(DropBelow(0.35), seed) for seed in (0, 0, 1)]
    first, again, other = (run(loaded, each, windows).layers[0] for each in policies)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.weights, other.weights)
    alone = run(loaded, policies[0], windows[1:]).layers[0]
    assert torch.equal(first.is_replaced[17:], alone.is_replaced)


def test_every_token_of_a_window_drops_experts_alike_often(loaded, windows, untouched):
    """Whatever its own weights are: by chi-square over 100 seeds."""
    weights = untouched.layers[0].weights[:17]
    light = int(((weights / weights.sum(dim=1, keepdim=True)).amin(dim=1) < 0.35).sum())
    assert 0 < light < 17
    policies = [InLayers(RandomDrop(DropBelow(0.35), s), frozenset({0})) for s in range(100)]
    layers = [run(loaded, each, windows[:1]).layers[0] for each in policies]
    dropped = sum(layer.is_replaced.double() for layer in layers)
    expected, share = 100 * light / 17, light / 17
    # 16 degrees of freedom, of draws without replacement: above 39.3 once in a thousand
    assert float(((dropped - expected) ** 2).sum() / (expected * (1 - share)) * 16 / 17) < 39.3


def test_the_control_refuses_what_its_policy_refuses(loaded):
    with pytest.raises(GatehouseError, match="scoring for each of 3 MoE layers, not none"):
        Replay(loaded.model, RandomDrop(DropEntropy(1.0, ())))


def test_random_sets_are_distinct_and_even_and_follow_the_seed(loaded, windows):
    first, again, other = (
        run(loaded, RandomSets(seed), windows).layers[0].ids for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first[:, 0] != first[:, 1]).all()
    draws = torch.cat([run(loaded, RandomSets(s), windows).layers[0].ids for s in range(100)])
    counts = torch.bincount(draws.flatten(), minlength=EXPERTS).double()
    expected = counts.sum() / EXPERTS
    # chi-square with three degrees of freedom: above 16.3 once in a thousand
    assert float(((counts - expected) ** 2 / expected).sum()) < 16.3


def test_random_sets_keep_to_the_tokens_that_are_covered(loaded, windows, token_ids):
    is_covered = torch.zeros(60, LAYERS, dtype=torch.bool)
    is_covered[:30, 1] = True
    layers = run(loaded, RandomSets(0, is_covered), windows).layers
    assert torch.equal(layers[1].is_replaced, token_ids < 30)
    assert not layers[0].is_replaced.any()


def test_the_integers_are_splitmix64s():
    """The first outputs for seed 1234567, as the reference in C and Rosetta Code give them."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    golden = 0x9E3779B97F4A7C15
    states = [(1234567 + turn * golden) % 2**64 for turn in range(3)]
    signed = [state - 2**64 if state >= 2**63 else state for state in states]
    assert [value % 2**64 for value in _mixed(torch.tensor(signed)).tolist()] == expected


def test_a_policy_in_no_layer_changes_nothing(loaded, windows, untouched):
    replayed = run(loaded, InLayers(RandomSets(), frozenset()), windows)
    assert torch.equal(replayed.hidden, untouched.hidden)


def test_a_policy_in_a_layer_that_is_not_there_is_refused(loaded):
    with pytest.raises(GatehouseError, match="no MoE layer 7: the model has 0 to 2"):
        Replay(loaded.model, InLayers(OwnRouting(), frozenset({1, 7})))
    with pytest.raises(GatehouseError, match="the mask is"):
        mask = MaskExperts(torch.zeros(1, 1, dtype=torch.bool))
        Replay(loaded.model, InLayers(mask, frozenset({1})))


def test_own_routing_replaces_everything_by_itself(loaded, windows, untouched):
    replayed = run(loaded, OwnRouting(), windows)
    assert torch.equal(replayed.hidden, untouched.hidden)
    assert torch.equal(run(loaded, Untouched(), windows).hidden, untouched.hidden)
