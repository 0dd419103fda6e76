"""Tiny FP8 checkpoints as families publish them, each beside the same numbers in bfloat16."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    MiniMaxM2Config,
    MiniMaxM2ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from tests.conftest import DEMO

BLOCK = 128
LARGEST = 448.0
"""Of e4m3."""

SHAPE = {
    "vocab_size": 4096,
    "hidden_size": 160,  # = 128 + 32: the last blocks are partial
    "intermediate_size": 192,
    "moe_intermediate_size": 136,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 128,
    "q_lora_rank": 96,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
}

FAMILIES = {
    "deepseek_v3": (DeepseekV3Config, DeepseekV3ForCausalLM),
    "glm4_moe": (Glm4MoeConfig, Glm4MoeForCausalLM),
    "minimax_m2": (MiniMaxM2Config, MiniMaxM2ForCausalLM),
    "mixtral": (MixtralConfig, MixtralForCausalLM),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
}
"""Families that publish checkpoints in FP8 with weights that are read here."""


def blocks(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (largest magnitude of each block of 128 x 128, the same for each weight)."""
    rows, columns = weight.shape
    largest = torch.stack(
        [
            torch.stack([part.abs().max() for part in row.split(BLOCK, dim=1)])
            for row in weight.float().split(BLOCK, dim=0)
        ]
    )
    of_each = largest[torch.arange(rows) // BLOCK][:, torch.arange(columns) // BLOCK]
    return largest, of_each


def channels(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest magnitude of each row, twice."""
    largest = weight.float().abs().amax(dim=1, keepdim=True)
    return largest, largest


def whole(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest magnitude of the weight, twice."""
    largest = weight.float().abs().max()
    return largest, largest


SCALINGS = {
    "blocks": (blocks, "_scale_inv", {"weight_block_size": [BLOCK, BLOCK]}),
    "channels": (channels, "_scale", {}),
    "whole": (whole, "_scale", {"activation_scheme": "static"}),
}
"""How a weight is scaled -> the function, what its scale's name adds, what the config states."""


def save_both(family: str, scaling: str, folder: Path) -> tuple[Path, Path]:
    """Save a tiny model in FP8, and its numbers in bfloat16; return both folders."""
    config, model = FAMILIES[family]
    names = config().to_dict()
    torch.manual_seed(3)
    made = model(config(**{key: value for key, value in SHAPE.items() if key in names}))
    plain, stored = folder / "plain", folder / "stored"
    made.to(torch.bfloat16).save_pretrained(plain)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / file, plain)
    shutil.copytree(plain, stored)
    of_scale, suffix, stated = SCALINGS[scaling]
    narrow, full = {}, load_file(plain / "model.safetensors")
    for name, weight in full.items():
        narrow[name] = weight
        if weight.ndim == 2 and ("proj" in name or "experts" in name):
            largest, of_each = of_scale(weight)
            values = (weight.float() / of_each * LARGEST).to(torch.float8_e4m3fn)
            narrow[name], narrow[name + suffix] = values, largest / LARGEST
            full[name] = (values.float() * (of_each / LARGEST)).to(torch.bfloat16)
    save_file(narrow, stored / "model.safetensors", metadata={"format": "pt"})
    save_file(full, plain / "model.safetensors", metadata={"format": "pt"})
    described = json.loads((stored / "config.json").read_text())
    described["quantization_config"] = {"quant_method": "fp8", **stated}
    (stored / "config.json").write_text(json.dumps(described))
    return stored, plain
