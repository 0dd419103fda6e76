"""The norms of the experts' outputs: of what the model really used, and nothing else is changed."""

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap, capture
from gatehouse.models.experts.output_norms import check_output_norms
from gatehouse.models.families import text_part
from gatehouse.models.routers import RouterSite, find_sites
from gatehouse.models.zoo import resolve
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.integrity import checked_events
from gatehouse.warehouse.records import EVENTS, EVENTS_WITH_NORMS
from tests.models.families.builders import BUILDERS
from tests.models.families.examination import plain_call
from tests.models.families.observation import LENGTH, Observed, random_windows, watching
from tests.models.families.tiny import tiny_model

UNSEEN = {"doge", "jetmoe", "llama4", "nllb_moe"}
"""Families whose blocks show no output of an expert beside its weight."""

TOLERANCE = {"rtol": 2e-5, "atol": 1e-6}
IMPLEMENTATIONS = ("eager", "batched_mm", "grouped_mm")


def observed_with_norms(family: str, model: nn.Module) -> tuple[Observed, list, list]:
    """Return a capture with norms, and what each site's experts were given and what they gave."""
    tap = RoutingTap(model, output_norms=True)
    windows = random_windows([LENGTH, LENGTH])
    logits, calls, choices, given, gave = [], [], [None] * len(tap.sites), [], []

    def note(module, arguments, named, output):
        given.append(
            next(each for each in (*arguments, *named.values()) if each.is_floating_point())
        )
        gave.append(output)

    handles = [
        site.experts.register_forward_hook(note, with_kwargs=True)
        for site in tap.sites
        if site.turn == 0
    ]
    with tap, watching(family, model, tap.sites, logits, calls, choices):
        events = capture(tap, [windows])
    for handle in handles:
        handle.remove()
    return Observed(family, model, windows, tap, events, logits, calls, choices), given, gave


def outputs_one_by_one(site: RouterSite, hidden: torch.Tensor, experts: int) -> torch.Tensor:
    """Return [N, E, H']: every expert's output for every row, each with all of the weight."""
    found = []
    for expert in range(experts):
        ids = (torch.arange(site.top_k) + expert).remainder(experts).expand(len(hidden), -1)
        weights = torch.zeros(ids.shape)
        weights[:, 0] = 1
        if site.family == "switch_transformers":
            ids = F.one_hot(ids, experts)
        with torch.inference_mode():
            found.append(site.experts(hidden, ids, weights))
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("family", sorted(BUILDERS.keys() - UNSEEN))
def test_weights_times_the_experts_outputs_are_what_the_block_routed(family):
    observed, given, gave = observed_with_norms(family, BUILDERS[family]())
    list(
        checked_events(
            Events.of(observed.events), samples_of(observed), observed.tap.layers(), has_norms=True
        )
    )
    for site, hidden, output in zip(observed.sites, given, gave, strict=True):
        hidden = hidden.reshape(-1, hidden.shape[-1])
        # the skip class is none of the experts
        computing = site.num_experts - (family == "zaya")
        one_by_one = observed.rows(outputs_one_by_one(site, hidden, computing).flatten(1))
        one_by_one = one_by_one.reshape(-1, computing, output.shape[-1])
        experts, weights = observed.of(site, "experts"), observed.of(site, "weights")
        norms = observed.of(site, "output_norms").astype(float)
        ran = weights > 0
        assert (np.isnan(norms) == ~ran).all() and ran.any()
        chosen = one_by_one.numpy()[np.arange(len(experts))[:, None], np.where(ran, experts, 0)]
        expected = np.linalg.norm(chosen.astype(float), axis=-1)
        np.testing.assert_allclose(norms[ran], expected[ran], **TOLERANCE)
        # the events' weights are rounded to float16
        routed = (weights[..., None] * ran[..., None] * chosen).sum(axis=1)
        whole = observed.rows(output.reshape(-1, output.shape[-1])).numpy()
        scale = np.abs(weights[..., None] * chosen).sum(axis=1).max()
        np.testing.assert_allclose(routed, whole, atol=1e-3 * scale)


def samples_of(observed: Observed) -> pa.Table:
    return pa.table(
        {
            "sample_id": pa.array([each.sample_id for each in observed.windows], pa.int64()),
            "tokens": pa.array([len(each.token_ids) for each in observed.windows], pa.int32()),
        }
    )


@pytest.mark.parametrize("family", sorted(BUILDERS.keys() - UNSEEN))
def test_nothing_else_changes(family):
    model, windows, given = BUILDERS[family](), random_windows([LENGTH, LENGTH]), []
    part = model.get_submodule(text_part(model))
    part.register_forward_hook(
        lambda module, arguments, output: given.append(output.last_hidden_state)
    )
    with RoutingTap(model) as tap:
        expected = capture(tap, [windows])
    with RoutingTap(model, output_norms=True) as tap:
        found = capture(tap, [windows])
        with torch.inference_mode():
            part(**plain_call(Observed(family, model, windows, tap, found, [], [], []))[1])
    plain, with_norms, untapped = given
    assert torch.equal(plain, with_norms) and type(with_norms) is torch.Tensor
    assert torch.equal(plain, untapped)
    assert expected.schema == EVENTS and found.schema == EVENTS_WITH_NORMS
    assert found.select(EVENTS.names).equals(expected)


@pytest.mark.parametrize("family", sorted(UNSEEN))
def test_a_family_that_shows_no_outputs_is_refused_by_name(family):
    sites = find_sites(BUILDERS[family]())
    with pytest.raises(GatehouseError, match=f"^--output-norms: {family} .*: leave it out, every"):
        check_output_norms(sites)
    with pytest.raises(GatehouseError, match=f"^--output-norms: {family} "):
        RoutingTap(BUILDERS[family](), output_norms=True)


def by_hand(experts: nn.Module, hidden: torch.Tensor, expert: int) -> torch.Tensor:
    """Return one expert's output, from its parameters: Mixtral's SwiGLU (arXiv 2401.04088)."""
    gate, up = (hidden @ experts.gate_up_proj[expert].T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ experts.down_proj[expert].T


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "olmoe"])
def test_norms_are_those_of_the_parameters_whichever_implementation_runs(family, implementation):
    model = BUILDERS[family]()
    model.set_experts_implementation(implementation)
    observed, given, _ = observed_with_norms(family, model)
    for site, hidden in zip(observed.sites, given, strict=True):
        assert site.experts.config._experts_implementation == implementation
        experts = observed.of(site, "experts")
        with torch.inference_mode():
            every = torch.stack(
                [by_hand(site.experts, hidden.double().float(), e) for e in range(8)], dim=1
            )
        expected = every.norm(dim=-1).numpy()[np.arange(len(experts))[:, None], experts]
        np.testing.assert_allclose(observed.of(site, "output_norms"), expected, **TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_changes_nothing_else_and_gives_norms_beyond_it(dtype):
    model = BUILDERS["mixtral"]().to(dtype)
    with torch.no_grad():
        for site in find_sites(model):
            site.experts.down_proj *= 200
    windows = random_windows([LENGTH, 9])
    with RoutingTap(model) as tap:
        expected = capture(tap, [windows])
    with RoutingTap(model, output_norms=True) as tap:
        found = capture(tap, [windows])
    assert found.select(EVENTS.names).equals(expected)
    assert max(map(max, found["output_norms"].to_pylist())) > 100


def test_norms_of_padded_batches_are_those_of_windows_alone():
    model = BUILDERS["mixtral"]()
    windows = random_windows([5, LENGTH, 11])
    with RoutingTap(model, output_norms=True) as tap:
        together = capture(tap, [windows])
        alone = capture(tap, [[window] for window in windows])
    np.testing.assert_allclose(
        together["output_norms"].to_pylist(), alone["output_norms"].to_pylist(), rtol=1e-4
    )


class _Scaled(nn.Module):
    """Experts that scale what goes in, not what comes out, as a model's own code might."""

    def __init__(self, experts: nn.Module) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, hidden, ids, weights):
        found = torch.zeros_like(hidden)
        for slot in range(ids.shape[1]):
            scaled = hidden * weights[:, slot, None]
            for expert in range(8):
                rows = ids[:, slot] == expert
                found[rows] += by_hand(self.experts, scaled[rows], expert)
        return found


class _Unweighted(_Scaled):
    """Experts that give the sum of their outputs, and leave their weights out."""

    def forward(self, hidden, ids, weights):
        return self.experts(hidden, ids, torch.ones(ids.shape))


class _Twice(_Scaled):
    """Experts that run twice."""

    def forward(self, hidden, ids, weights):
        return (self.experts(hidden, ids, weights) + self.experts(hidden, ids, weights)) / 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_Scaled, "give something else than the sum of their outputs times the weights"),
        (_Unweighted, "do not multiply each output by its weight once"),
        (_Twice, "do not multiply each output by its weight once"),
    ],
)
def test_experts_that_use_their_weights_otherwise_are_refused(wrong, message):
    model = BUILDERS["mixtral"]()
    for layer in model.layers:
        layer.mlp.experts = wrong(layer.mlp.experts)
    with RoutingTap(model) as tap:
        capture(tap, [random_windows([LENGTH])])
    with (
        RoutingTap(model, output_norms=True) as tap,
        pytest.raises(GatehouseError, match=rf"^--output-norms: .* {message}: leave it out"),
    ):
        capture(tap, [random_windows([LENGTH])])


def test_an_output_of_infinity_names_the_sample():
    model = BUILDERS["mixtral"]()
    with torch.no_grad():
        model.layers[-1].mlp.experts.down_proj[3] = torch.inf
    with (
        RoutingTap(model, output_norms=True) as tap,
        pytest.raises(GatehouseError, match=r"layers.2.* gave sample 0, position \d+ .* infinity"),
    ):
        capture(tap, [random_windows([LENGTH])])


def test_after_the_tap_the_experts_run_as_before():
    model = tiny_model("mixtral", {})
    windows = random_windows([LENGTH])
    token_ids, mask = pad(windows)
    with RoutingTap(model, output_norms=True) as tap:
        capture(tap, [windows])
    part = model.get_submodule(text_part(model))
    assert not any(module._forward_pre_hooks for module in part.modules())
    with torch.inference_mode():
        output = part(input_ids=token_ids, attention_mask=mask.long()).last_hidden_state
    assert type(output) is torch.Tensor


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_quantised_experts_have_the_norms_of_their_restored_parameters(quantization):
    pytest.importorskip("bitsandbytes")
    model = resolve("demo", quantize=quantization).load().model
    observed, given, _ = observed_with_norms("mixtral", model)
    site, hidden = observed.sites[0], given[0]
    experts = observed.of(site, "experts")
    with torch.inference_mode():
        every = torch.stack(
            [by_hand(site.experts, hidden, each) for each in range(site.num_experts)], dim=1
        )
    expected = every.norm(dim=-1).numpy()[np.arange(len(experts))[:, None], experts]
    np.testing.assert_allclose(observed.of(site, "output_norms"), expected, **TOLERANCE)
