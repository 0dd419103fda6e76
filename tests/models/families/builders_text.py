"""Text decoders that follow the default contract: a router beside its experts in every block."""

from typing import Any

LINEAR = "linear_attention"
FULL = "full_attention"
SLIDING = "sliding_attention"
INDEXED = "indexed_attention"

TEXT: dict[str, dict[str, Any]] = {
    "afmoe": {"layer_types": [SLIDING, SLIDING, FULL]},
    "axk1": {},
    "axk2": {},
    "bailing_hybrid": {"layer_types": [LINEAR, LINEAR, FULL]},
    "beam": {"layer_types": [SLIDING, SLIDING, FULL]},
    "cohere2_moe": {"layer_types": [SLIDING, SLIDING, FULL]},
    "deepseek_v2": {"topk_method": "group_limited_greedy"},
    "deepseek_v3": {"num_experts_per_tok": 3},
    "deepseek_v32": {},
    "dots1": {},
    "ernie4_5_moe": {"moe_layer_end_index": 2},
    "exaone_moe": {"layer_types": [SLIDING, SLIDING, FULL]},
    "flex_olmo": {},
    "flint": {"layer_types": [FULL, SLIDING, FULL], "mlp_only_layers": [0]},
    "glm4_moe": {},
    "glm4_moe_lite": {},
    "glm_moe_dsa": {},
    "gpt_oss": {"num_experts_per_tok": 4, "layer_types": [SLIDING, FULL, SLIDING]},
    "granitemoe": {},
    "granitemoe_swa": {},
    "granitemoehybrid": {
        "layer_types": [LINEAR, LINEAR, FULL],
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_chunk_size": 16,
    },
    "granitemoeshared": {},
    "hunyuan_v1_moe": {},
    "hy_v3": {},
    "hy_v4": {},
    "jamba": {
        "num_hidden_layers": 4,
        "attn_layer_period": 4,
        "attn_layer_offset": 2,
        "mamba_dt_rank": 4,
    },
    "kimi_linear": {"layer_types": [LINEAR, LINEAR, FULL]},
    "kolibri1": {"layer_types": [SLIDING, SLIDING, FULL]},
    "laguna": {"layer_types": [FULL, FULL, SLIDING]},
    "lara_mini": {"layer_types": [LINEAR, SLIDING, FULL]},
    "lfm2_moe": {"layer_types": ["conv", "conv", FULL]},
    "mellum": {"layer_types": [SLIDING, SLIDING, FULL]},
    "mimo_v2_flash": {
        "layer_types": [FULL, SLIDING, FULL],
        # Sliding layers have twice as many key-value heads.
        "num_key_value_heads": 2,
    },
    "minimax": {"layer_types": [LINEAR, LINEAR, FULL], "block_size": 16},
    "minimax_m2": {},
    "mistral4": {},
    "mixtral": {},
    "nemotron_h": {
        "layers_block_type": [LINEAR, "moe", FULL, "moe"],
        "n_groups": 2,
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "chunk_size": 16,
        "moe_shared_expert_intermediate_size": 24,
    },
    "olmoe": {"num_experts_per_tok": 3},
    "openai_privacy_filter": {},
    "qwen2_moe": {"mlp_only_layers": [0]},
    "qwen3_moe": {"mlp_only_layers": [0]},
    "qwen3_next": {"layer_types": [LINEAR, LINEAR, FULL]},
    # AutoModel gives these two configs the models of DeepSeek-V3 and GLM-4-MoE.
    "sarvam_mla": {},
    "sarvam_moe": {},
    "solar_open": {},
}
