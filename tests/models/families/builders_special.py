"""Text families whose routing departs from the default contract, each in its own way."""

from typing import Any

SPECIAL: dict[str, dict[str, Any]] = {
    # Its modeling code reads a rope_theta that its config class lacks, and clamps without bounds.
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10_000.0, "clip_qkv": 8.0}},
    "deepseek_v4": {
        "num_key_value_heads": 1,
        "head_dim": 16,
        "layer_types": [
            "heavily_compressed_attention",
            "compressed_sparse_attention",
            "sliding_attention",
        ],
        "mlp_layer_types": ["hash_moe", "moe", "moe"],
        "o_groups": 2,
        "o_lora_rank": 16,
    },
    # Product keys: the number of experts is a square.
    "doge": {"is_moe": True, "num_experts": 16},
    "jetmoe": {"kv_channels": 8, "num_key_value_heads": 2},
    "longcat_flash": {},
    "nllb_moe": {
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_sparse_step": 1,
        "decoder_sparse_step": 1,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    },
    "phimoe": {},
    "switch_transformers": {
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_sparse_encoder_layers": 2,
        "num_sparse_decoder_layers": 2,
        "num_heads": 4,
        "d_kv": 8,
        "d_ff": 48,
        "num_experts": 4,
        # Below the mean load of 24 tokens on 4 experts: some tokens are always dropped.
        "expert_capacity": 4,
    },
    "zaya": {"num_experts": 4, "num_experts_per_tok": 1, "router_hidden_size": 32},
}
