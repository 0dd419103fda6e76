"""A weight of 0 says that the block did not run the expert, and no other weight lands as 0."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from gatehouse.models.capture import RoutingTap, capture
from gatehouse.models.dialects import DenseScores
from gatehouse.models.events import to_host
from gatehouse.models.readers import Routing
from tests.models.families.builders import BUILDERS
from tests.models.families.observation import random_windows

SMALLEST = np.finfo(np.float16).smallest_subnormal


def landed(weights: torch.Tensor, dropped: torch.Tensor | None = None) -> np.ndarray:
    """Return the float16 weights [N, k] that land for weights as a block applied them."""
    rows, top_k = weights.shape
    routing = Routing(torch.zeros(rows, top_k), torch.arange(top_k).expand(rows, top_k), weights)
    if dropped is not None:
        routing = Routing(routing.logits, routing.ids, weights, dropped)
    fields = (routing.ids, routing.marked_weights(), torch.zeros(rows), torch.ones(rows))
    return to_host([fields], [torch.arange(rows)])[0].weights


def steep(family: str, factor: float = 1800.0) -> torch.nn.Module:
    """Return a tiny model whose router prefers its first choice `factor` times as much."""
    model = BUILDERS[family]()
    tap = RoutingTap(model)
    for router in {id(site.router): site.router for site in tap.sites}.values():
        last = list(router.parameters())[-1] if family == "zaya" else next(router.parameters())
        with torch.no_grad():
            last.mul_(factor)
    return model


def weights_of(events: pa.Table) -> np.ndarray:
    return np.array(events["weights"].to_pylist())


@pytest.mark.parametrize("family", ["mixtral", "olmoe", "jetmoe", "doge", "gemma4"])
def test_an_expert_that_ran_is_not_dropped_however_steep_the_router(family):
    """Softmax of scores some hundreds apart is exactly 0 in fp32, and the expert runs with it."""
    with RoutingTap(steep(family, 1e6)) as tap:
        weights = weights_of(capture(tap, [random_windows([24])]))
    assert (weights > 0).all()
    assert (weights == SMALLEST).any(), "no weight was rounded, so this shows nothing"


def test_a_steep_router_scaled_by_1800_lands_no_drop():
    with RoutingTap(steep("mixtral")) as tap:
        weights = weights_of(capture(tap, [random_windows([24, 24])]))
        assert tap.layers()["weights_sum_to_one"].to_pylist() == [True] * len(tap.sites)
    assert (weights > 0).all()
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-3


@pytest.mark.parametrize("factor", [1.0, 1e6])
def test_switch_drops_what_its_own_dispatch_leaves_out(factor):
    model = steep("switch_transformers", factor)
    dispatched: list[torch.Tensor] = []
    with RoutingTap(model) as tap:
        for site in tap.sites:
            site.experts.register_forward_pre_hook(
                lambda module, arguments: dispatched.append(arguments[1].flatten(0, -2).sum(dim=1))
            )
        events = capture(tap, [random_windows([24])])
    for site, sent in zip(tap.sites, dispatched, strict=True):
        weights = weights_of(events.filter(pa.compute.field("layer") == site.layer))
        ran = sent[-24:].numpy() > 0
        np.testing.assert_array_equal(weights[:, 0] > 0, ran)
        assert 0 < ran.sum() < 24


@pytest.mark.parametrize("chosen", ["expert 0", "skip"])
def test_zaya_tells_its_first_expert_from_the_skip_class_at_weight_0(chosen):
    """Both reach the experts as id 0 with weight 0, if the balancing bias chose expert 0."""
    model = steep("zaya", 1e9)
    last = model.config.num_experts
    (batch,) = random_windows([24])
    with RoutingTap(model) as tap:
        tap.route([batch])
        for site in tap.sites:
            biases = site.router.balancing_biases
            biases.fill_(-10.0)
            biases[0 if chosen == "expert 0" else last] = 10.0
        found = tap.route([batch])
    for routing in found:
        assert (routing.experts == (0 if chosen == "expert 0" else last)).all()
        assert ((routing.weights > 0) == (chosen == "expert 0")).all()
    if chosen == "expert 0":
        assert any((routing.weights == SMALLEST).any() for routing in found)


def test_llama_4_names_its_experts_where_the_score_is_0():
    """Its scores are 0 for the experts that were not chosen, and by underflow for one that was."""
    router = torch.nn.Linear(4, 5, bias=False)
    router.top_k = 2
    logits = torch.tensor([[-300.0, 3.0, -200.0, -250.0, -400.0], [1.0, 2.0, -1.0, 0.0, -2.0]])
    chosen = logits.topk(2, dim=1).indices
    scores = torch.zeros_like(logits).scatter(1, chosen, logits.gather(1, chosen).sigmoid())
    assert scores[0, 2] == 0
    routing = DenseScores(router, router, router).read((scores, logits))
    assert routing.ids.tolist() == [[1, 2], [1, 0]]
    assert (landed(routing.weights) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_rounding_to_float16_keeps_what_ran_above_0(dtype):
    """Any weight from 0 to 1, down to the smallest float, is positive if it was not dropped."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.rand(400, 4, generator=generator, dtype=torch.float64) * -330
    weights = (10**exponents).to(dtype)
    weights[::7, 1] = 0
    dropped = torch.rand(400, 4, generator=generator) < 0.2
    found = landed(weights, dropped)
    assert ((found > 0).sum(axis=1) == (~dropped).sum(dim=1).numpy()).all()
    assert (found[:, :-1] >= found[:, 1:]).all()
    kept = weights.double().masked_fill(dropped, 0).sort(dim=1, descending=True).values.numpy()
    np.testing.assert_allclose(found.astype(float), kept, rtol=2.0**-11, atol=float(SMALLEST))


def test_weights_that_sum_to_one_still_do():
    logits = torch.randn(500, 8, generator=torch.Generator().manual_seed(1)) * 40
    found = landed(torch.softmax(logits, dim=1)).astype(float)
    assert np.abs(found.sum(axis=1) - 1).max() <= 2.0**-11 + 8 * 2.0**-24


def test_a_weight_below_0_stays_below_0_and_so_is_refused():
    assert landed(torch.tensor([[1.0, -1e-30]]))[0, 1] == -SMALLEST
