"""The bytes of one expert, against all parameters of all experts, counted by name."""

import re
from types import SimpleNamespace

import pytest
import torch

from gatehouse.models.capture import RoutingTap
from gatehouse.models.experts.expert_sizes import loaded_bytes, planned_bytes
from gatehouse.models.quantization import BLOCK
from gatehouse.models.routers import find_sites
from gatehouse.models.zoo import resolve
from tests.models.families.builders import BUILDERS

EXPERTS = re.compile(r"\.(experts|input_linear|output_linear)\.")


def bytes_of_experts(model: torch.nn.Module) -> int:
    return sum(
        each.numel() * each.element_size()
        for name, each in model.named_parameters()
        if EXPERTS.search(f".{name}") and "shared" not in name
    )


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "granitemoe", "gpt_oss", "deepseek_v3"])
def test_experts_of_a_loaded_model_take_their_parameters(family):
    model = BUILDERS[family]()
    sites = find_sites(model)
    of_layers = sum(site.num_experts * loaded_bytes(site) for site in sites)
    assert of_layers == bytes_of_experts(model) > 0


def test_half_the_precision_is_half_the_bytes():
    model = BUILDERS["mixtral"]()
    (full, *_) = map(loaded_bytes, find_sites(model))
    (half, *_) = map(loaded_bytes, find_sites(model.to(torch.bfloat16)))
    assert full == 2 * half


def test_a_layer_says_what_its_expert_takes():
    model = BUILDERS["mixtral"]()
    with RoutingTap(model) as tap:
        assert tap.layers()["expert_bytes"].to_pylist() == [
            loaded_bytes(each) for each in tap.sites
        ]


@pytest.mark.parametrize("quantization", BLOCK)
def test_a_quantised_expert_takes_what_is_stored(quantization):
    pytest.importorskip("bitsandbytes")
    full, small = (resolve("demo", quantize=each).load() for each in ("none", quantization))
    bits = {"4bit": 4 + 32 / 64, "8bit": 8 + 32 / 256}[quantization]
    for one, other in zip(find_sites(full.model), find_sites(small.model), strict=True):
        assert loaded_bytes(other) == pytest.approx(loaded_bytes(one) * bits / 32, rel=1e-3)


def test_a_plan_takes_what_the_loaded_model_does():
    plan = resolve("demo", dtype="bfloat16")
    loaded = [loaded_bytes(site) for site in find_sites(plan.load().model)]
    assert [planned_bytes(site, plan.config) for site in plan.sites] == loaded


@pytest.mark.parametrize(
    ("stated", "bits"),
    [
        ({"quant_method": "mxfp4"}, 4.25),
        ({"quant_method": "fp8"}, 8),
        ({"quant_method": "x"}, None),
    ],
)
def test_a_config_may_state_a_quantisation(stated, bits):
    (site, *_) = find_sites(BUILDERS["mixtral"]())
    config = SimpleNamespace(quantization_config=stated)
    expected = None if bits is None else round(loaded_bytes(site) * bits / 32)
    assert planned_bytes(site, config) == expected
