"""Models by name: what a model is (from its config alone), then the model itself.

plan = resolve("mixtral")            # config only: MoE layers, precision, fingerprints
loaded = plan.load()                 # weights, tokenizer, device
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from models.routers import RouterSite, find_sites
from models.source import Source, find_source
from warehouse.errors import GatehouseError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class LoadedModel:
    """A backbone in evaluation mode, and its tokenizer."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens as the tokenizer adds them."""
        return self.tokenizer(texts, add_special_tokens=True, verbose=False)["input_ids"]


@dataclass(frozen=True)
class ModelPlan:
    """What would be loaded: resolved from the config, without weights.

    `sites` belong to a copy of the model on the meta device: structure only.
    """

    source: Source
    config: Any
    dtype: str
    quantization: str
    attention_implementation: str
    experts_implementation: str
    fingerprint: str
    sites: list[RouterSite]
    skeleton: nn.Module

    @property
    def name(self) -> str:
        """The alias or hub id as the user wrote it, or the folder's full path."""
        return self.source.name

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, read once.

        Raises:
            GatehouseError: the model has none that transformers can read.
        """
        return self.source.read(AutoTokenizer)

    def load(self) -> LoadedModel:
        """Load weights (safetensors only) onto the GPU where there is one.

        Raises:
            GatehouseError: no network and not in the cache, no safetensors, or a damaged file.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options: dict[str, Any] = {"device_map": device}
        if self.quantization != "none":
            options["quantization_config"] = _quantization()
        model = self.source.read(
            AutoModel,
            dtype=DTYPES[self.dtype],
            use_safetensors=True,
            attn_implementation=self.attention_implementation,
            **options,
        )
        return LoadedModel(model.eval(), self.tokenizer)


def resolve(
    name: str, *, revision: str | None = None, dtype: str = "auto", quantize: bool = False
) -> ModelPlan:
    """Return the plan of a model: an alias of `source.ALIASES`, a hub id, or a local folder.

    Args:
        name: what the user wrote.
        revision: branch, tag or commit on the hub.
        dtype: float32, bfloat16, float16, or auto: the checkpoint's own on a GPU, float32 on a
            CPU, where half precision is slower or absent.
        quantize: 4-bit linear layers (bitsandbytes); needs a GPU. Routers stay as they are.

    Raises:
        GatehouseError: unknown model, no network, or no MoE layers.
    """
    if dtype not in ("auto", *DTYPES):
        raise GatehouseError(f"unknown dtype {dtype!r}: auto, {', '.join(DTYPES)}")
    if quantize and not torch.cuda.is_available():
        raise GatehouseError("--quantize needs a GPU: leave it out to run in full precision")
    source = find_source(name, revision)
    config = source.read(AutoConfig)
    with source.errors(), torch.device("meta"):
        skeleton = AutoModel.from_config(config)
    return ModelPlan(
        source=source,
        config=config,
        dtype=_dtype(config, dtype),
        quantization="4bit" if quantize else "none",
        attention_implementation=skeleton.config._attn_implementation,
        experts_implementation=str(getattr(skeleton.config, "_experts_implementation", "none")),
        fingerprint=source.fingerprint(config),
        sites=find_sites(skeleton),
        skeleton=skeleton,
    )


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """Return every token as {token_id, token_str, is_special}, schema VOCABULARY.

    A token of incomplete UTF-8 bytes has no text of its own: it keeps the tokenizer's spelling.
    """
    special = set(tokenizer.all_special_ids)
    spellings = sorted((index, token) for token, index in tokenizer.get_vocab().items())
    return [
        {
            "token_id": index,
            "token_str": token if "\ufffd" in (text := tokenizer.decode([index])) else text,
            "is_special": index in special,
        }
        for index, token in spellings
    ]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return 16 hexadecimal digits that change when the tokenization can change."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    described = backend.to_str() if backend else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def versions() -> str:
    """Return the versions that a run's record names."""
    return f"torch {torch.__version__}, transformers {transformers.__version__}"


def device_name() -> str:
    """Return the name of the device that captures."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def _dtype(config: Any, dtype: str) -> str:
    if dtype != "auto":
        return dtype
    if not torch.cuda.is_available():
        return "float32"
    stored = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    return stored if stored in DTYPES else "float32"


def _quantization() -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["gate", "router", "lm_head"],
    )
