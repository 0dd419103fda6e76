"""Routing that is looked up: by token, by pair of tokens, by place."""

from dataclasses import replace

import pytest
import torch

from gatehouse.models.replay.replaying import Replay
from gatehouse.models.replay.tables import BigramTable, Entries, GivenRouting, TokenTable
from gatehouse.warehouse.errors import GatehouseError

LAYERS, EXPERTS, TOP_K, TOKENS = 3, 4, 2, 60


def run(loaded, policy, windows):
    with Replay(loaded.model, policy) as replay:
        return replay.run(windows)


def entries_of(rows: int, seed: int = 0, weighted: bool = True) -> Entries:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.rand(rows, LAYERS, EXPERTS, generator=generator).argsort(dim=2)[..., :TOP_K]
    weights = torch.rand(rows, LAYERS, TOP_K, generator=generator).softmax(dim=2)
    is_known = torch.rand(rows, LAYERS, generator=generator) < 0.7
    return Entries(ids, is_known, weights if weighted else None)


def given(replayed, weighted: bool = True) -> Entries:
    """Return a run's routing as entries, one for each token."""
    ids = torch.stack([layer.ids for layer in replayed.layers], dim=1)
    weights = torch.stack([layer.weights for layer in replayed.layers], dim=1)
    known = torch.ones(ids.shape[:2], dtype=torch.bool)
    return Entries(ids, known, weights if weighted else None)


@pytest.fixture(scope="module")
def places(windows):
    return (
        torch.tensor([w.sample_id for w in windows for _ in w.token_ids]),
        torch.tensor([w.start + n for w in windows for n in range(len(w.token_ids))]),
    )


@pytest.mark.parametrize("rows", [0, TOKENS])
def test_a_table_without_entries_changes_nothing(loaded, windows, untouched, rows):
    whole = entries_of(rows)
    empty = replace(whole, is_known=torch.zeros_like(whole.is_known))
    for entries in (empty, replace(empty, weights=None)):
        replayed = run(loaded, TokenTable(entries), windows)
        assert torch.equal(replayed.hidden, untouched.hidden)
        assert not any(layer.is_replaced.any() for layer in replayed.layers)


def test_known_tokens_get_their_entries_and_others_their_own(loaded, windows, token_ids):
    entries = entries_of(40)
    for moe_index, layer in enumerate(run(loaded, TokenTable(entries), windows).layers):
        for row, token in enumerate(token_ids.tolist()):
            known = token < 40 and bool(entries.is_known[token, moe_index])
            assert bool(layer.is_replaced[row]) == known
            if known:
                assert torch.equal(layer.ids[row], entries.ids[token, moe_index])
                assert torch.equal(layer.weights[row], entries.weights[token, moe_index])
            else:
                assert torch.equal(layer.ids[row], layer.own_ids[row])


def test_ids_alone_get_the_routers_weights_for_them(logits_of):
    """Mixtral's: the softmax over the logits of the chosen."""
    for layer, logits in logits_of(TokenTable(entries_of(TOKENS, weighted=False))):
        torch.testing.assert_close(layer.weights, logits.gather(1, layer.ids).softmax(dim=1))
        assert layer.is_replaced.any()
        assert not torch.equal(layer.ids, layer.own_ids)


def test_bigrams_are_found_by_both_tokens(loaded, windows):
    pairs = sorted(
        {pair for window in windows for pair in zip(window.token_ids, window.token_ids[1:])}
    )[::2]
    first, second = (torch.tensor(each) for each in zip(*pairs))
    shuffled = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1))
    entries = entries_of(len(pairs))
    table = BigramTable(first[shuffled], second[shuffled], entries)
    layers = run(loaded, table, windows).layers
    at = {pairs[place]: row for row, place in enumerate(shuffled.tolist())}
    token = 0
    for window in windows:
        for pair in zip([-1, *window.token_ids], window.token_ids):
            for moe_index, layer in enumerate(layers):
                known = pair in at and bool(entries.is_known[at[pair], moe_index])
                assert bool(layer.is_replaced[token]) == known
                if known:
                    assert torch.equal(layer.ids[token], entries.ids[at[pair], moe_index])
            token += 1


def test_a_models_own_routing_given_back_changes_nothing(loaded, windows, untouched, places):
    """By place, in any order; in fp32 bit for bit, and the rule gives the same weights."""
    whole = given(untouched)
    order = torch.randperm(len(places[0]), generator=torch.Generator().manual_seed(2))
    for weights in (whole.weights[order], None):
        entries = Entries(whole.ids[order], whole.is_known[order], weights)
        policy = GivenRouting(places[0][order], places[1][order], entries)
        replayed = run(loaded, policy, windows)
        assert torch.equal(replayed.hidden, untouched.hidden)
        assert all(layer.is_replaced.all() for layer in replayed.layers)


def test_places_that_the_other_run_lacks_keep_their_routing(loaded, windows, untouched, places):
    whole = given(untouched)
    part = Entries(whole.ids[:5].flip(2), whole.is_known[:5], whole.weights[:5])
    layers = run(loaded, GivenRouting(places[0][:5], places[1][:5], part), windows).layers
    assert layers[0].is_replaced.tolist() == [True] * 5 + [False] * (len(places[0]) - 5)
    nothing = GivenRouting(places[0][:0], places[1][:0], entries_of(0))
    assert torch.equal(run(loaded, nothing, windows).hidden, untouched.hidden)


def test_another_tokens_entry_is_known_and_another_tokens(loaded):
    entries = entries_of(TOKENS)
    # every entry has weights of its own
    other = TokenTable(entries).of_another_token().entries
    assert torch.equal(other.is_known, entries.is_known)
    for moe_index in range(LAYERS):
        known = entries.is_known[:, moe_index]
        before, after = (each.weights[known, moe_index] for each in (entries, other))
        assert (before != after).any(dim=1).all()
        assert sorted(before.tolist()) == sorted(after.tolist())


def test_the_only_known_token_has_no_other():
    whole = entries_of(TOKENS)
    one = replace(
        whole, is_known=torch.zeros_like(whole.is_known).index_fill(0, torch.tensor(3), 1)
    )
    assert not TokenTable(one).of_another_token().entries.is_known.any()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (Entries(torch.zeros(9, 2, 2), torch.ones(9, 2) > 0), "table holds 2 x 2 .* has 3 x 2"),
        (Entries(torch.zeros(9, 3, 1), torch.ones(9, 3) > 0), "table holds 3 x 1 .* has 3 x 2"),
        (
            Entries(torch.tensor([0, -1]).expand(9, 3, -1), torch.ones(9, 3) > 0),
            "entries of MoE layer 0 without exactly 2 experts first, as many as the model",
        ),
        (
            Entries(torch.full((9, 3, 2), 4), torch.ones(9, 3) > 0),
            "names expert 4 in MoE layer 0, but the model has 0 to 3",
        ),
    ],
)
def test_a_table_of_another_model_is_refused(loaded, entries, said):
    for policy in (TokenTable(entries), BigramTable(torch.arange(9), torch.arange(9), entries)):
        with pytest.raises(GatehouseError, match=said):
            Replay(loaded.model, policy)
