"""The models that `make bench-capture` runs: random weights in real shapes, nothing downloaded."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, MixtralConfig, OlmoeConfig, Qwen3MoeConfig

SMALL = MixtralConfig(
    vocab_size=16_000,
    hidden_size=512,
    intermediate_size=1_024,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=4,
    num_local_experts=8,
    num_experts_per_tok=2,
)
"""Mixtral of 115 M parameters, which one CPU thread runs in seconds."""

RELEASED = {
    "Mixtral-8x7B": MixtralConfig(
        vocab_size=32_000,
        hidden_size=4_096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        num_local_experts=8,
        num_experts_per_tok=2,
    ),
    "OLMoE-1B-7B": OlmoeConfig(
        vocab_size=50_304,
        hidden_size=2_048,
        intermediate_size=1_024,
        num_hidden_layers=16,
        num_attention_heads=16,
        num_key_value_heads=16,
        num_experts=64,
        num_experts_per_tok=8,
    ),
    "Qwen3-30B-A3B": Qwen3MoeConfig(
        vocab_size=151_936,
        hidden_size=2_048,
        moe_intermediate_size=768,
        num_hidden_layers=48,
        num_attention_heads=32,
        num_key_value_heads=4,
        head_dim=128,
        num_experts=128,
        num_experts_per_tok=8,
        norm_topk_prob=True,
    ),
}
"""Shapes of released models, as their configs on the hub state them."""

HEADROOM = 12 * 2**30
"""Bytes kept free beside the weights, for activations."""


def random_model(config: Any, device: str, dtype: torch.dtype) -> nn.Module:
    """Return a backbone with random weights, made on the device itself, in evaluation mode."""
    torch.manual_seed(11)
    with torch.device(device):
        return AutoModel.from_config(config, dtype=dtype).eval()


def parameters(config: Any) -> int:
    """Return the number of parameters of the config's backbone, without making them."""
    with torch.device("meta"):
        return sum(each.numel() for each in AutoModel.from_config(config).parameters())


def fitting(config: Any, available: int) -> Any | None:
    """Return the config with as many layers as fit in bf16, None if not even one does.

    Capture has a cost per layer, as the forward pass does: fewer layers hardly change the ratio.

    Args:
        config: of a model whose layers are all alike.
        available: bytes for weights and activations.
    """
    one, two = deepcopy(config), deepcopy(config)
    one.num_hidden_layers, two.num_hidden_layers = 1, 2
    first = parameters(one)
    layer = parameters(two) - first
    layers = 1 + ((available - HEADROOM) // 2 - first) // layer
    if layers < 1:
        return None
    shortened = deepcopy(config)
    shortened.num_hidden_layers = min(layers, config.num_hidden_layers)
    return shortened
