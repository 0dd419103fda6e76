"""How each MoE family of transformers, named by its folder there, scores experts.

The weights of the first batch show the scoring wherever they can. What is stated here serves where
they cannot (one weight per token that is always 1), and names the scoring from a config alone.
`docs/families.md` has the table.
"""

from torch import nn

SOFTMAX = """aria cohere2_moe dbrx deepseek_ocr2 deepseek_v2 diffusion_gemma doge ernie4_5_moe
ernie4_5_vl_moe flex_olmo gemma4 gpt_oss granitemoe granitemoe_swa granitemoehybrid
granitemoeshared hunyuan_v1_moe jamba jetmoe lara_mini longcat_flash mellum minimax mistral4
mistral_large4 mixtral nllb_moe olmoe openai_privacy_filter qwen2_moe qwen3_5_moe qwen3_moe
qwen3_next qwen3_omni_moe qwen3_vl_moe qwen4_exp switch_transformers unlimited_ocr zaya""".split()

SIGMOID = """afmoe axk1 axk2 bailing_hybrid beam deepseek_v3 deepseek_v32 dots1 dots3_note
exaone_moe flint glm4_moe glm4_moe_lite glm4v_moe glm5_next glm_moe_dsa hy_v3 hy_v4 hy_v4_vl
inkling inkling2 inkling2_loop kimi_linear kolibri1 laguna lfm2_moe llama4 mimo_v2_flash minimax_m2
minimax_m3_vl muse_spark nemotron_h sarvam_mla sarvam_moe solar_open step3p7""".split()

FAMILIES: dict[str, str] = (
    dict.fromkeys(SOFTMAX, "softmax")
    | dict.fromkeys(SIGMOID, "sigmoid")
    | {"deepseek_v4": "sqrt_softplus", "phimoe": "sparsemixer"}
)
"""Family -> scoring kind of `models.scoring`."""

SCALED = {"gemma4", "diffusion_gemma"}
"""Families whose weights carry a factor per expert, so that they cannot show the scoring."""

TEXT_PART = {
    # its decoder denoises a canvas of random tokens
    "diffusion_gemma": "encoder",
    # AutoModel gives the model with its LM head, whose logits nobody asked for
    "llama4": "language_model.model",
}
"""Family -> the part of the model that text runs through, where it is not the whole."""


def family_of(module: nn.Module) -> str | None:
    """Return the folder in transformers that a module's class comes from, None for others."""
    parts = type(module).__module__.split(".")
    return parts[2] if parts[:2] == ["transformers", "models"] and len(parts) > 2 else None


def text_part(model: nn.Module) -> str:
    """Return the path of the module that text runs through, empty for the model itself."""
    part = TEXT_PART.get(family_of(model) or "", "")
    return part if any(path == part for path, _ in model.named_modules()) else ""


def stated_scoring(router: nn.Module, family: str | None) -> str | None:
    """Return the scoring kind if it is known before anything runs, else None."""
    if hasattr(router, "tid2eid"):
        return "hash"
    # families that leave the choice to their config keep it on the router
    chosen = getattr(router, "expert_selection_fn", None) or getattr(router, "scoring_func", None)
    if chosen in ("softmax", "sigmoid"):
        return chosen
    return FAMILIES.get(family) if family else None
