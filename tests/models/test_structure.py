"""What is reported of a model before and after its weights are loaded."""

import pytest
import torch
from transformers import AutoModel, MixtralConfig

from gatehouse.models.structure import PARTS, analyze, weight_bytes, weights_line
from gatehouse.models.zoo import resolve
from tests.models.families.builders import BUILDERS

ONE_EXPERT = {
    "mixtral": lambda config: 3 * config.hidden_size * config.intermediate_size,
    "gpt_oss": lambda config: (
        3 * config.hidden_size * config.intermediate_size  # gate, up and down, with biases
        + 2 * config.intermediate_size
        + config.hidden_size
    ),
    "dbrx": lambda config: 3 * config.d_model * config.ffn_config.ffn_hidden_size,
    "zaya": lambda config: 3 * config.hidden_size * config.moe_intermediate_size,
    "longcat_flash": lambda config: 3 * config.hidden_size * config.expert_ffn_hidden_size,
}
"""Parameters of an expert, from the family's config."""


def skeleton_of(config):
    with torch.device("meta"):
        return AutoModel.from_config(config)


def test_parameters_are_counted_as_they_load(tiny_mixtral):
    plan = resolve(str(tiny_mixtral))
    structure = analyze(plan.skeleton)
    loaded = plan.load()
    assert sum(structure.parameters.values()) == sum(p.numel() for p in loaded.model.parameters())
    assert structure.parameters == {
        "experts": 3 * 4 * 3 * 32 * 48,
        "attention": 3 * (2 * 32 * 32 + 2 * 32 * 16),
        "embeddings": 4096 * 32,
        "routers": 3 * 4 * 32,
        "other": 7 * 32,
    }
    assert structure.active == sum(structure.parameters.values()) - 3 * 2 * 3 * 32 * 48
    assert structure.memory["float32"] == sum(weight_bytes(loaded.model).values())
    assert structure.memory["bfloat16"] * 2 == structure.memory["float32"]


def test_mixtral_has_its_published_size_and_fits_40_gb_in_4_bits():
    """46.7 billion parameters, 12.9 billion active (arXiv 2401.04088), the LM head included."""
    structure = analyze(skeleton_of(MixtralConfig()))
    head = 32_000 * 4096
    assert round((sum(structure.parameters.values()) + head) / 1e9, 1) == 46.7
    assert round((structure.active + head) / 1e9, 1) == 12.9
    assert structure.memory["bfloat16"] > 90e9
    assert structure.memory["8bit"] < 48e9
    assert structure.memory["4bit"] < 27e9
    text = str(structure)
    assert "layers         32, of which MoE: 32" in text
    assert "layers.*.mlp.gate in blocks 0-31: 8 experts a layer, top-2, softmax" in text


def test_layers_that_are_not_alike_are_told_apart():
    dense_first = analyze(skeleton_of(BUILDERS["deepseek_v3"]().config))
    assert dense_first.layers > len(dense_first.sites)
    assert "sigmoid" in str(dense_first)
    switch = BUILDERS["switch_transformers"]()
    both = analyze(skeleton_of(switch.config))
    assert both.layers == switch.config.num_layers + switch.config.num_decoder_layers
    stacks = str(both)
    assert "encoder.block.*.layer.1.mlp.router in blocks" in stacks
    assert "decoder.block.*.layer.2.mlp.router in blocks" in stacks
    assert "top-1, softmax" in stacks
    twice = analyze(skeleton_of(BUILDERS["jetmoe"]().config))
    assert len(twice.sites) == 2 * twice.layers
    assert {line.split()[1].rpartition(".")[2] for line in str(twice).splitlines()[1:3]} == {
        "router"
    }


@pytest.mark.parametrize("family", ONE_EXPERT)
def test_active_parameters_are_the_experts_that_a_token_meets(family):
    """Also where a router has classes that are not experts (zaya, longcat_flash)."""
    model = BUILDERS[family]()
    structure = analyze(model)
    of_experts = structure.parameters["experts"]
    meets = sum(site.top_k * ONE_EXPERT[family](model.config) for site in structure.sites)
    assert structure.active == sum(structure.parameters.values()) - of_experts + meets
    assert of_experts > meets


def test_bytes_in_memory_are_told_by_part(tiny_mixtral):
    loaded = resolve(str(tiny_mixtral), quantize="4bit").load()
    taken = weight_bytes(loaded.model)
    assert sum(taken.values()) == sum(
        each.numel() * each.element_size() for each in loaded.model.parameters()
    )
    line = weights_line(loaded)
    assert "\n" not in line and "on cpu: experts 0.0311 MB" in line
    assert all(f"{part} " in line for part in PARTS)


def test_a_block_that_runs_twice_is_two_layers_with_the_same_parameters():
    model = BUILDERS["inkling2_loop"]()
    structure = analyze(model)
    assert [site.block for site in structure.sites] == [0, 1, 2, 1, 2, 3]
    assert [site.layer for site in structure.sites] == list(range(6))
    one_expert = 3 * 32 * 24
    assert structure.parameters["experts"] == 4 * 8 * one_expert
    assert structure.active == sum(structure.parameters.values()) - 4 * 6 * one_expert
    assert "layers         4, of which MoE: 4" in str(structure)
    assert "gate in blocks 0-3: 8 experts a layer, top-2, sigmoid" in str(structure)
