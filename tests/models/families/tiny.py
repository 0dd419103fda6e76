"""Tiny random models: the same small values under whichever names a config class has."""

import inspect
import re
from typing import Any

import torch
from torch import nn

WIDTHS = {
    "hidden_size": 32,
    "d_model": 32,
    "intermediate_size": 48,
    "ffn_hidden_size": 48,
    "moe_intermediate_size": 24,
    "expert_ffn_hidden_size": 24,
    "shared_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "share_expert_dim": 24,
    "dense_intermediate_size": 48,
    "head_dim": 8,
    "v_head_dim": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "linear_head_dim": 8,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "mamba_d_state": 8,
    "index_head_dim": 8,
}
COUNTS = {
    "num_hidden_layers": 3,
    "num_layers": 3,
    "n_layers": 3,
    "num_attention_heads": 4,
    "n_heads": 4,
    "num_key_value_heads": 4,
    "mlp_layer_types": ["dense", "sparse", "sparse"],
    "linear_num_heads": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "index_n_heads": 2,
    "index_topk": 8,
    "hc_mult": 2,
    "num_nextn_predict_layers": 0,
}
ROUTING = {
    "num_experts": 8,
    "num_local_experts": 8,
    "n_routed_experts": 8,
    "moe_num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_top_k": 2,
    "moe_k": 2,
    "top_k_experts": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    "zero_expert_num": 2,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "routed_scaling_factor": 1.5,
    "moe_routed_scaling_factor": 1.5,
    "moe_router_scaling_factor": 1.5,
}
TOKENS = {
    "vocab_size": 128,
    "max_position_embeddings": 128,
    "sliding_window": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TINY = WIDTHS | COUNTS | ROUTING | TOKENS
TINY_TOWER = WIDTHS | {
    "num_hidden_layers": 1,
    "depth": 1,
    "num_attention_heads": 4,
    "num_heads": 4,
    "num_key_value_heads": 4,
    "out_hidden_size": 32,
    "text_hidden_size": 32,
    "output_dim": 32,
    "patch_size": 4,
    "image_size": 16,
    "max_position_embeddings": 64,
    "num_position_embeddings": 16,
    "projection_intermediate_size": 32,
    "projection_hidden_dim": 32,
    "position_embedding_size": 16,
    "output_channels": 32,
    "mlp_dim": 32,
    "downsample_channels": [32, 32],
    "global_attn_indexes": [0],
    "vision_output_dim": 32,
    "projector_input_dim": 32,
    "projector_output_dim": 32,
    "adapter_in_dim": 32,
    "adapter_out_dim": 32,
    "adapter_input_size": 32,
    "output_proj_dims": 32,
    "n_mel_bins": 8,
    "mel_vocab_size": 16,
    "num_mel_bins": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "max_source_positions": 32,
    "downsample_hidden_size": 16,
    "feature_size": 16,
    "deepstack_visual_indexes": [0],
    "num_experts_per_tok": 2,
    "num_local_experts": 4,
    "mlp_layer_types": ["sparse"],
}
TOWERS = ("vision", "audio", "sam", "encoder")
"""Parts of the names of sub-configs that describe an image or audio tower."""

ROUTER = re.compile(r"\b(gate|router|router_gate)\b.*weight$")


def tiny_model(model_type: str, overrides: dict[str, Any], seed: int = 0) -> nn.Module:
    """Return the backbone that AutoModel gives, with random weights, fp32, evaluation mode.

    Args:
        model_type: as in `config.json`.
        overrides: fields of the config, or a dict of fields for each of its sub-configs.
        seed: of the weights; the global random state is left as it was.
    """
    from transformers import CONFIG_MAPPING, AutoModel

    config = _tiny_config(CONFIG_MAPPING[model_type], TINY, overrides)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModel.from_config(config, dtype=torch.float32)
        _redraw_parameters(model)
        _redraw_selection(model)
    return model.eval()


def _tiny_config(config_class: Any, sizes: dict[str, Any], overrides: dict[str, Any]) -> Any:
    """Where the class is `AutoConfig`, the override `model_type` names the real one."""
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    if not issubclass(config_class, PreTrainedConfig):
        config_class = CONFIG_MAPPING[overrides["model_type"]]
    fields = inspect.signature(config_class).parameters.keys()
    parts = {
        name: _tiny_config(
            part,
            TINY_TOWER if any(word in name for word in TOWERS) else TINY,
            overrides.get(name, {}),
        )
        for name, part in config_class.sub_configs.items()
    }
    chosen = {name: value for name, value in sizes.items() if name in fields}
    return config_class(**chosen | overrides | parts)


def _redraw_parameters(model: nn.Module) -> None:
    """Redraw matrices at 1 / sqrt(fan-in), so that signals keep their size in any block.

    Embeddings get 1, and routers twice the size, so that tokens and experts differ. Vectors
    (norms, biases, per-expert scales) keep their initial value plus noise.
    """
    embeddings = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or name.endswith("bias"):
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        elif id(parameter) in embeddings:
            parameter.normal_()
        else:
            gain = 2.0 if ROUTER.search(name) else 1.0
            parameter.normal_(std=gain * parameter.shape[-1] ** -0.5)


def _redraw_selection(model: nn.Module) -> None:
    """Fill the buffers that steer selection, which are idle until a checkpoint is loaded."""
    for name, buffer in model.named_buffers():
        if name.endswith("bias"):
            buffer.add_(torch.randn_like(buffer), alpha=0.1)
        elif name.endswith("balancing_biases"):
            # Not added to: the initial -1 of the skip class would keep it from being chosen.
            buffer.normal_(std=0.1)
        elif name.endswith("tid2eid"):
            router: Any = model.get_submodule(name.rpartition(".")[0])
            shuffled = torch.rand(len(buffer), router.num_experts).argsort(dim=1)
            buffer.copy_(shuffled[:, : buffer.shape[1]])
