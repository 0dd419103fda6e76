"""One tiny random backbone per MoE family of transformers, as `AutoModel` gives it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from gatehouse.models.experts.mending import mend
from tests.models.families.builders_multimodal import MULTIMODAL
from tests.models.families.builders_special import SPECIAL
from tests.models.families.builders_text import TEXT
from tests.models.families.tiny import tiny_model

MODEL_TYPES = {
    "inkling": "inkling_mm_model",
    "nllb_moe": "nllb-moe",
    # AutoModel maps the thinker, not the composite of thinker, talker and vocoder.
    "qwen3_omni_moe": "qwen3_omni_moe_thinker",
}
"""Model types that are spelled differently from the family's folder."""

SEEDS = {
    "bailing_hybrid": 1,
    "deepseek_ocr2": 2,
    "doge": 11,
    "ernie4_5_moe": 6,
    "glm4_moe": 2,
    "glm4_moe_lite": 6,
    "inkling2": 13,
    "kolibri1": 7,
    "laguna": 2,
    "longcat_flash": 27,
    "minimax_m2": 7,
    "minimax_m3_vl": 8,
    "zaya": 196,
}
"""Other seeds for families whose first draw of weights leaves an expert without tokens."""

FAMILIES = TEXT | MULTIMODAL | SPECIAL


def _mended(*arguments: Any, **named: Any) -> nn.Module:
    model = tiny_model(*arguments, **named)
    mend(model)
    return model


def _builder(family: str, **changes: Any) -> Callable[[], nn.Module]:
    return partial(
        _mended,
        MODEL_TYPES.get(family, family),
        FAMILIES[family] | changes,
        seed=SEEDS.get(family, 0),
    )


BUILDERS: dict[str, Callable[[], nn.Module]] = {family: _builder(family) for family in FAMILIES}
"""Family (folder of `transformers/models`) -> its model, built afresh on each call."""

VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "cohere2_moe, sigmoid": _builder("cohere2_moe", expert_selection_fn="sigmoid"),
    "deepseek_v2, greedy": _builder("deepseek_v2", topk_method="greedy"),
    "qwen3_moe, normalised": _builder("qwen3_moe", norm_topk_prob=True),
}
"""Families whose config changes how the router scores, in the way that `BUILDERS` leaves out."""
