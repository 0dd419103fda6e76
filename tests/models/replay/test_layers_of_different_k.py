"""A model whose layers run different numbers of experts, from tables to what is counted."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from gatehouse.models.replay.measuring import measure
from gatehouse.models.replay.policies import DropBelow, MaskExperts, OwnRouting, RandomSets
from gatehouse.models.replay.replaying import Replay
from gatehouse.models.replay.tables import NO_EXPERT, Entries, TokenTable
from gatehouse.models.zoo import LoadedModel, resolve
from gatehouse.warehouse.errors import GatehouseError

TOP_K, EXPERTS, TOKENS = (2, 1, 3), 4, 60


@pytest.fixture(scope="module")
def uneven(tiny_mixtral) -> LoadedModel:
    loaded = resolve(str(tiny_mixtral), dtype="float32").load(head=AutoModelForCausalLM)
    for layer, top_k in zip(loaded.model.layers, TOP_K, strict=True):
        layer.mlp.gate.top_k = top_k
    return loaded


@pytest.fixture(scope="module")
def entries() -> Entries:
    """Entries for most tokens, as a run's table has them: a rectangle, filled up."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.rand(TOKENS, len(TOP_K), EXPERTS, generator=generator).argsort(dim=2)[..., :3]
    weights = torch.rand(TOKENS, len(TOP_K), 3, generator=generator)
    beyond = torch.arange(3) >= torch.tensor(TOP_K).unsqueeze(1)
    is_known = torch.rand(TOKENS, len(TOP_K), generator=generator) < 0.7
    return Entries(ids.masked_fill(beyond, NO_EXPERT), is_known, weights.masked_fill(beyond, 0))


def run(loaded, policy, windows):
    with Replay(loaded.model, policy) as replay:
        return replay.run(windows)


@pytest.mark.parametrize("weighted", [True, False])
def test_each_layer_runs_as_many_of_an_entry_as_it_has(
    uneven, windows, token_ids, entries, weighted
):
    table = TokenTable(entries if weighted else replace(entries, weights=None))
    for moe_index, layer in enumerate(run(uneven, table, windows).layers):
        top_k = TOP_K[moe_index]
        known = entries.is_known[token_ids, moe_index]
        assert torch.equal(layer.is_replaced, known)
        assert torch.equal(layer.ids[known], entries.ids[token_ids[known], moe_index, :top_k])
        if weighted:
            found = entries.weights[token_ids[known], moe_index, :top_k]
            assert torch.equal(layer.weights[known], found)
        else:
            torch.testing.assert_close(layer.weights.sum(dim=1), torch.ones(len(known)))


def test_another_tokens_entry_is_filled_up_alike(uneven, windows, entries):
    other = TokenTable(entries).of_another_token()
    layers = run(uneven, other, windows).layers
    assert [layer.ids.shape[1] for layer in layers] == list(TOP_K)
    assert torch.equal(other.entries.ids == NO_EXPERT, entries.ids == NO_EXPERT)


def test_what_is_counted_is_each_layers_own(uneven, windows, entries):
    masked = torch.arange(EXPERTS).expand(len(TOP_K), -1) == 1
    policies = {
        "own": OwnRouting(),
        "table": TokenTable(entries),
        "random": RandomSets(),
        "masked": MaskExperts(masked),
        "fewer": DropBelow(0.4),
    }
    (found,) = measure(uneven, policies, [windows])
    assert found["own"].kl.tolist() == [0.0, 0.0]
    for name in ("own", "table", "random", "masked"):
        assert (
            found[name].experts_run == found[name].rows[:, None] * torch.tensor(TOP_K).numpy()
        ).all()
    fewer = found["fewer"].experts_run
    assert (fewer[:, 1] == found["fewer"].rows).all()
    assert (fewer[:, 2] < 3 * found["fewer"].rows).all()


@pytest.mark.parametrize("place", [(1, 1), (2, 2)])
def test_entries_of_other_numbers_are_refused(uneven, entries, place):
    """One expert too many, one too few."""
    layer, slot = place
    ids = entries.ids.clone()
    ids[entries.is_known[:, layer], layer, slot] = NO_EXPERT if layer == 2 else 0
    said = f"of MoE layer {layer} without exactly {TOP_K[layer]} experts first"
    with pytest.raises(GatehouseError, match=said):
        Replay(uneven.model, TokenTable(replace(entries, ids=ids)))
