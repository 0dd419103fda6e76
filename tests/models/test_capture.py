"""What lands is what the model did: checked against the model itself, not our reading of it."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaModel,
    MixtralModel,
)

from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap, capture
from gatehouse.models.routers import find_sites
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import EVENTS, TokenWindow

SMALL = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}


@pytest.fixture
def model(tiny_mixtral) -> MixtralModel:
    return MixtralModel.from_pretrained(tiny_mixtral, dtype=torch.float32).eval()


def random_windows(lengths: list[int], vocabulary: int = 512, seed: int = 0) -> list[TokenWindow]:
    generator = np.random.default_rng(seed)
    return [
        TokenWindow(sample, 0, generator.integers(3, vocabulary, length).tolist())
        for sample, length in enumerate(lengths)
    ]


def events_of(model: nn.Module, batches: list[list[TokenWindow]]) -> dict:
    with RoutingTap(model) as tap:
        return capture(tap, batches).to_pydict()


class Spy:
    """Records what each experts module is called with, by replacing its forward."""

    def __init__(self, model: nn.Module) -> None:
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for site in find_sites(model):
            site.experts.forward = self.wrap(site.experts.forward)

    def wrap(self, forward):
        def spied(hidden, ids, weights):
            output = forward(hidden, ids, weights)
            self.calls.append((ids.clone(), weights.clone(), output.clone()))
            return output

        return spied


def test_experts_and_weights_are_the_experts_own_inputs(model):
    windows = random_windows([17])
    spy = Spy(model)
    events = events_of(model, [windows])
    ids = torch.cat([call[0] for call in spy.calls])
    weights = torch.cat([call[1] for call in spy.calls])
    order = weights.argsort(dim=1, descending=True, stable=True)
    assert events["experts"] == ids.gather(1, order).tolist()
    assert np.array_equal(
        np.array(events["weights"], np.float16), weights.gather(1, order).half().numpy()
    )
    assert events["top_expert"] == [experts[0] for experts in events["experts"]]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("expert", [0, 3])
def test_perturbing_one_expert_changes_exactly_the_tokens_that_name_it(model, layer, expert):
    windows = random_windows([40, 25])
    token_ids, mask = pad(windows)
    events = events_of(model, [windows])
    named = [expert in ids for ids, at in zip(events["experts"], events["layer"]) if at == layer]
    perturbed = copy.deepcopy(model)
    with torch.no_grad():
        find_sites(perturbed)[layer].experts.down_proj[expert] *= 1.5
    outputs = []
    for one in (model, perturbed):
        spy = Spy(one)
        with torch.inference_mode():
            one(input_ids=token_ids, attention_mask=mask.long(), use_cache=False)
        outputs.append(spy.calls[layer][2][mask.flatten()])
    changed = (outputs[0] != outputs[1]).any(dim=1)
    assert any(named) and not all(named)
    assert changed.tolist() == named


def test_hooks_leave_the_output_bit_identical_and_no_trace(model):
    token_ids, mask = pad(random_windows([30, 12]))
    inputs = {"input_ids": token_ids, "attention_mask": mask.long(), "use_cache": False}
    with torch.inference_mode():
        plain = model(**inputs).last_hidden_state
        with RoutingTap(model):
            tapped = model(**inputs).last_hidden_state
    assert torch.equal(plain, tapped)
    RoutingTap(model)
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_entropy_is_finite_and_equals_float64_in_every_precision(model, dtype):
    """Sharp routers: half of the probabilities underflow in fp16, where p log(p) is NaN."""
    for site in find_sites(model):
        site.router.weight.data *= 40
    model.to(dtype)
    logits = []
    for site in find_sites(model):
        site.router.register_forward_hook(lambda module, inputs, output: logits.append(output[0]))
    events = events_of(model, [random_windows([60])])
    exact = torch.softmax(torch.cat(logits).double(), dim=1)
    entropy = torch.special.entr(exact).sum(dim=1)
    assert np.isfinite(events["entropy"]).all()
    np.testing.assert_allclose(events["entropy"], entropy.numpy(), atol=1e-5)
    np.testing.assert_allclose(events["confidence"], exact.amax(dim=1).numpy(), atol=1e-5)


def test_the_formula_that_failed_elsewhere_does_fail_on_these_logits():
    """Guards the test above: fp16 softmax with log(p + 1e-10) gives NaN on sharp logits."""
    logits = torch.tensor([[40.0, 0.0, -5.0, 3.0]], dtype=torch.float16)
    probabilities = torch.softmax(logits, dim=1)
    assert torch.isnan(-(probabilities * torch.log(probabilities + 1e-10)).sum())


def test_padding_never_lands_and_changes_nothing(model):
    windows = random_windows([50, 3, 21, 1, 33])
    batched = events_of(model, [windows])
    assert len(batched["entropy"]) == 3 * (50 + 3 + 21 + 1 + 33)
    alone = [events_of(model, [[window]]) for window in windows]
    for window, single in zip(windows, alone):
        rows = [i for i, sample in enumerate(batched["sample_id"]) if sample == window.sample_id]
        for column in ("position", "token_id", "layer", "experts", "top_expert"):
            assert [batched[column][i] for i in rows] == single[column], column
        for column in ("entropy", "confidence", "weights"):
            np.testing.assert_allclose(
                [batched[column][i] for i in rows], single[column], atol=2e-3, rtol=0
            )
        np.testing.assert_allclose(
            [batched["entropy"][i] for i in rows], single["entropy"], atol=1e-5
        )


def test_a_token_that_equals_the_pad_id_is_real(model):
    """Real tokens are recognised by length, not by value: the pads hold id 0 too."""
    events = events_of(model, [[TokenWindow(0, 0, [0, 0, 0]), TokenWindow(1, 0, [5] * 9)]])
    assert events["token_id"][:12] == [0, 0, 0] + [5] * 9


def test_events_are_ordered_and_complete_whatever_the_batches(model):
    lengths = [9, 30, 2, 14, 30, 7]
    windows = random_windows(lengths)
    reference = events_of(model, [[window] for window in windows])
    shuffled = events_of(model, [[windows[4], windows[1]], [windows[2], windows[5]], windows[0::3]])
    for column in ("layer", "sample_id", "position", "token_id", "experts"):
        assert shuffled[column] == reference[column], column
    keys = list(zip(*(reference[column] for column in ("layer", "sample_id", "position"))))
    assert keys == [
        (layer, sample, position)
        for layer in range(3)
        for sample, length in enumerate(lengths)
        for position in range(length)
    ]


def test_windows_keep_their_positions_in_the_sample(model):
    windows = [TokenWindow(4, 0, [7] * 5), TokenWindow(4, 5, [8] * 3)]
    events = events_of(model, [windows])
    assert events["position"][:8] == list(range(8))
    assert events["token_id"][:8] == [7] * 5 + [8] * 3


def test_no_windows_give_an_empty_table(model):
    with RoutingTap(model) as tap:
        table = capture(tap, [])
    assert table.num_rows == 0 and table.schema == EVENTS


def test_a_dense_model_has_no_routing():
    dense = {key: value for key, value in SMALL.items() if key != "moe_intermediate_size"}
    with pytest.raises(GatehouseError, match="no MoE layers: Gatehouse reads"):
        RoutingTap(LlamaModel(LlamaConfig(**dense)))


def test_a_router_that_does_not_fire_stops_the_run(model):
    block = model.layers[1].mlp
    block.forward = lambda hidden: hidden
    with (
        RoutingTap(model) as tap,
        pytest.raises(GatehouseError, match=r"layers\.1.* seen 0 and 0 times"),
    ):
        capture(tap, [random_windows([8])])


def test_a_router_that_fires_twice_stops_the_run(model):
    block = model.layers[2].mlp
    once = block.forward
    block.forward = lambda hidden: once(hidden) + once(hidden)
    with (
        RoutingTap(model) as tap,
        pytest.raises(GatehouseError, match=r"layers\.2.* seen 2 and 2 times"),
    ):
        capture(tap, [random_windows([8])])


def test_a_wrong_number_of_rows_stops_the_run(model):
    block = model.layers[0].mlp
    once = block.forward
    block.forward = lambda hidden: torch.cat([once(hidden[:, :-1]), hidden[:, -1:]], dim=1)
    with RoutingTap(model) as tap, pytest.raises(GatehouseError, match="routed 7 rows"):
        capture(tap, [random_windows([8])])


def test_layers_describe_the_routers(model):
    with RoutingTap(model) as tap:
        capture(tap, [random_windows([4])])
    assert tap.layers().to_pylist() == [
        {
            "layer": layer,
            "moe_index": layer,
            "stack": "decoder",
            "block": layer,
            "router_path": f"layers.{layer}.mlp.gate",
            "scoring": "softmax",
            "num_experts": 4,
            "top_k": 2,
            "weights_sum_to_one": True,
            "has_weights": True,
            "has_distribution": True,
            "ranked": True,
            # three matrices of float32
            "expert_bytes": 3 * 4 * model.config.hidden_size * model.config.intermediate_size,
        }
        for layer in range(3)
    ]


def test_entropy_stays_within_its_bounds(model):
    entropy = np.array(events_of(model, [random_windows([64])])["entropy"])
    assert (entropy >= 0).all() and (entropy <= math.log(4) + 1e-5).all()
