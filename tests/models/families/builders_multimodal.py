"""Multimodal families: the full model, its image and audio towers as small as they go.

All of them run on text alone. `model_type` is given where a part may be of any AutoConfig class.
"""

from typing import Any

MULTIMODAL: dict[str, dict[str, Any]] = {
    "aria": {
        "text_config": {"model_type": "aria_text"},
        "vision_config": {"model_type": "idefics3_vision"},
        "projector_patch_to_query_dict": {16: 4},
    },
    "deepseek_ocr2": {"text_config": {"topk_method": "group_limited_greedy"}},
    "diffusion_gemma": {
        "text_config": {"model_type": "diffusion_gemma_text", "global_head_dim": 8},
        "vision_config": {"model_type": "gemma4_vision"},
        "canvas_length": 8,
    },
    "dots3_note": {
        "text_config": {
            "layer_types": ["indexed_attention"] * 3,
            "shared_experts_intermediate_size": 24,
        }
    },
    "ernie4_5_vl_moe": {
        "text_config": {
            "moe_intermediate_size": [24, 16],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [1, 1, 2],
            },
        }
    },
    "gemma4": {
        "text_config": {
            "enable_moe_block": True,
            "global_head_dim": 8,
            "vocab_size_per_layer_input": 128,
            "hidden_size_per_layer_input": 8,
        }
    },
    "glm4v_moe": {
        "text_config": {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [1, 1, 0],
            }
        }
    },
    "glm5_next": {
        "text_config": {
            "layer_types": ["linear_attention", "linear_attention", "indexed_attention"],
            "index_kpool": 4,
            "qk_rope_head_dim": 0,
        }
    },
    "hy_v4_vl": {
        "text_config": {
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [2, 1, 1],
            }
        }
    },
    "inkling": {
        "text_config": {
            "layer_types": ["hybrid_sliding", "hybrid_sliding", "hybrid"],
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 2,
            "swa_head_dim": 8,
            "sliding_window_size": 16,
            "d_rel": 4,
            "rel_extent": 32,
            "n_shared_experts": 2,
            "logits_mup_width_multiplier": 1.0,
        }
    },
    "inkling2": {
        "text_config": {
            "layer_types": ["hybrid_sliding", "hybrid_sliding", "hybrid"],
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 2,
            "swa_head_dim": 8,
            "sliding_window_size": 16,
            "d_rel": 4,
            "rel_extent": 32,
            "unpadded_vocab_size": 128,
        }
    },
    # The two middle layers run twice each.
    "inkling2_loop": {
        "text_config": {
            "num_hidden_layers": 4,
            "layer_types": ["hybrid_sliding", "hybrid_sliding", "hybrid", "hybrid_sliding"],
            "swa_num_attention_heads": 4,
            "swa_num_key_value_heads": 2,
            "swa_head_dim": 8,
            "sliding_window_size": 16,
            "d_rel": 4,
            "rel_extent": 32,
            "unpadded_vocab_size": 128,
            "n_layers_per_attn_res_block": 1,
            "loop_layer_index_start": 1,
            "loop_layer_index_end": 3,
            "loop_num_passes": 2,
            "loop_gate_rank": 8,
        },
        "vision_config": {"model_type": "inkling2_vision"},
    },
    "llama4": {"text_config": {"intermediate_size_mlp": 48}},
    "minimax_m3_vl": {"projector_hidden_size": 32},
    "mistral_large4": {
        "text_config": {"model_type": "mistral_large4_text"},
        "vision_config": {"model_type": "pixtral"},
    },
    "muse_spark": {
        "audio_config": {"patch_sizes": [4], "hidden_sizes": [32], "depths": [1]},
        "text_config": {"moe_hidden_size": 16, "output_multiplier": 0.5},
        "out_hidden_size": 32,
        "projector_hidden_size": 32,
    },
    "qwen3_5_moe": {"text_config": {"layer_types": ["linear_attention"] * 2 + ["full_attention"]}},
    # A field of the checkpoints' configs that the config class lacks; text alone reads it too.
    "qwen3_omni_moe": {"vision_start_token_id": 120},
    "qwen3_vl_moe": {},
    "qwen4_exp": {
        "text_config": {
            "layer_types": ["linear_attention"] * 2 + ["indexed_attention"],
            "hc_count": 2,
            "hc_lowrank": 8,
            "indexer_n_heads": 2,
            "indexer_kv_heads": 1,
            "indexer_head_dim": 8,
            "indexer_budget": 8,
            "indexer_compress_ratio": 4,
        }
    },
    "step3p7": {},
    "unlimited_ocr": {},
}
