"""Models by name: what a model is (from its config alone), then the model itself.

plan = resolve("mixtral")            # config only: MoE layers, precision, fingerprints
loaded = plan.load()                 # weights, tokenizer, device
"""

from array import array
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from gatehouse.models.batches import out_of_memory
from gatehouse.models.checkpoint.fp8 import check_scales, restoring
from gatehouse.models.checkpoint.stored import (
    check_loaded,
    check_precision,
    check_stated,
    stored_tensors,
)
from gatehouse.models.experts.mending import mend
from gatehouse.models.finding import find_source
from gatehouse.models.loading import (
    auto_class,
    backbone,
    check_attention,
    check_device,
    check_finite_weights,
    choose_quantization,
    dequantizing,
    device_name,
    gpu_bytes,
    loaded_config,
    restore_linear,
)
from gatehouse.models.quantization import BLOCK
from gatehouse.models.quantizer import BlockwiseConfig
from gatehouse.models.routers import RouterSite, find_sites
from gatehouse.models.source import Source, quiet
from gatehouse.models.tokenizer import encode
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.release import gatehouse_version

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class LoadedModel:
    """A backbone in evaluation mode, and its tokenizer.

    `head` is the whole model, if it was loaded to generate text.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    head: Any = None

    def encode(self, texts: list[str]) -> list["array[int]"]:
        """Return the token ids of each text, special tokens as the tokenizer adds them."""
        return encode(self.tokenizer, texts)


@dataclass(frozen=True)
class ModelPlan:
    """What would be loaded: resolved from the config, without weights.

    `sites` belong to a copy of the model on the meta device: structure only.
    """

    source: Source
    config: Any
    dtype: str
    quantization: str
    device_map: str
    attention_implementation: str
    experts_implementation: str
    sites: list[RouterSite]
    skeleton: nn.Module

    @property
    def name(self) -> str:
        """The alias or hub id as the user wrote it, or the folder's full path."""
        return self.source.name

    @property
    def device_name(self) -> str:
        """What a run's record calls the devices."""
        return device_name(self.device_map)

    @cached_property
    def fingerprint(self) -> str:
        """What changes with the model's weights, config and trusted code: a commit or a hash.

        Raises:
            GatehouseError: there are no safetensors.
        """
        return self.source.fingerprint(self.config)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, read once.

        Raises:
            GatehouseError: the model has none that transformers can read, or an empty one.
        """
        tokenizer = self.source.read(AutoTokenizer)
        if len(tokenizer) <= len(tokenizer.all_special_ids):
            raise GatehouseError(
                f"the tokenizer of {self.name!r} has no tokens but {len(tokenizer)} special ones: "
                "restore the tokenizer files that came with this model"
            )
        return tokenizer

    def load(self, *, head: Any = None) -> LoadedModel:
        """Load weights (safetensors only) onto the plan's devices.

        Args:
            head: the class that loads the model with its head; None for the backbone alone.

        Raises:
            GatehouseError: not in the cache and the hub does not answer, no safetensors, a
                damaged or incomplete checkpoint, one that is not what its config says, weights that
                are not finite, or not enough memory.
        """
        config = self._checked_config()
        quantization = dequantizing(config)
        if self.quantization in BLOCK:
            quantization = BlockwiseConfig(self.quantization)
        try:
            model, found = self.source.read(
                head or auto_class(config),
                config=config,
                dtype=DTYPES[self.dtype],
                use_safetensors=True,
                attn_implementation=self.attention_implementation,
                device_map=self.device_map,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `check_loaded` refuses them by name
                **({"quantization_config": quantization} if quantization else {}),
            )
        except GatehouseError as error:
            cause = error.__cause__ or error
            # the files, the hub and the memory would be no different in 16 bits
            elsewhere = isinstance(cause, OSError | SafetensorError) or out_of_memory(cause)
            if self.quantization in ("none", *BLOCK) or elsewhere:
                raise
            raise GatehouseError(
                f"{error}; the checkpoint is stored in {self.quantization}, and its 16-bit version "
                "does without that"
            ) from error
        check_loaded(self.name, config, found)
        if self.quantization.startswith("bitsandbytes"):
            with self.source.errors(), quiet():
                model = restore_linear(model, DTYPES[self.dtype])
        check_precision(self.name, model, DTYPES[self.dtype])
        check_finite_weights(self.name, model)
        mend(model)
        if head:
            return LoadedModel(model.eval().base_model, self.tokenizer, model)
        return LoadedModel(backbone(model, self.config).eval(), self.tokenizer)

    def _checked_config(self) -> Any:
        """Return the config to load with, after comparing the stored tensors with it."""
        files = self.source.weight_files
        with self.source.errors():
            tensors = stored_tensors(files)
        check_stated(self.name, self.config, tensors)
        if self.quantization != "fp8":
            return self.config
        check_scales(self.name, self.config, tensors)
        return restoring(self.config)


def resolve(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    quantize: str = "auto",
    device_map: str | None = None,
    attn_implementation: str | None = None,
    trust_remote_code: bool = False,
) -> ModelPlan:
    """Return the plan of a model: an alias of `aliases.ALIASES`, a hub id, or a local folder.

    Args:
        name: what the user wrote.
        revision: branch, tag or commit on the hub.
        dtype: float32, bfloat16, float16, or auto: the checkpoint's own on a GPU, float32 on a
            CPU, where half precision is slower or absent.
        quantize: 4bit, 8bit, none, or auto: 4bit on a GPU that the full model does not fit.
        device_map: a device, or auto, balanced, balanced_low_0, sequential (over all devices);
            the GPU where there is one unless named.
        attn_implementation: sdpa, eager, flash_attention_2, ...; transformers' choice unless
            named.
        trust_remote_code: whether code from the model's repository may run.

    Raises:
        GatehouseError: unknown model or option, no network, or no MoE layers.
    """
    if dtype not in ("auto", *DTYPES):
        raise GatehouseError(f"unknown dtype {dtype!r}: auto, {', '.join(DTYPES)}")
    device_map = check_device(device_map)
    source = find_source(name, revision, trust_remote_code)
    config = loaded_config(source.read(AutoConfig))
    capacity = gpu_bytes(device_map)
    dtype = _dtype(config, dtype, on_gpu=capacity is not None)
    check_attention(attn_implementation, dtype)
    skeleton = _skeleton(source, config, attn_implementation)
    weights = sum(parameter.numel() for parameter in skeleton.parameters())
    return ModelPlan(
        source=source,
        config=config,
        dtype=dtype,
        quantization=choose_quantization(
            quantize, config, weights * DTYPES[dtype].itemsize, capacity
        ),
        device_map=device_map,
        attention_implementation=skeleton.config._attn_implementation,
        experts_implementation=str(getattr(skeleton.config, "_experts_implementation", "none")),
        sites=find_sites(skeleton),
        skeleton=skeleton,
    )


def versions(quantization: str = "none") -> str:
    """Return the versions that the records of runs and replays name."""
    needed = quantization in BLOCK or quantization.startswith("bitsandbytes")
    names = ["torch", "transformers", *(["bitsandbytes"] if needed else [])]
    found = (f"{name} {version(name)}" for name in names)
    return ", ".join([f"gatehouse {gatehouse_version()}", *found])


def _skeleton(source: Source, config: Any, attention: str | None) -> Any:
    """Return the backbone on the meta device."""
    options = {"attn_implementation": attention} if attention else {}
    try:
        with source.errors(), quiet(), torch.device("meta"):
            model = auto_class(config).from_config(
                config, trust_remote_code=source.trust_remote_code, **options
            )
    except GatehouseError as error:
        if attention and "attention" in str(error).lower():
            raise GatehouseError(
                f"{source.name!r} does not run with --attn-implementation {attention}: leave it "
                "out, or name eager"
            ) from error
        raise
    return backbone(model, config)


def _dtype(config: Any, dtype: str, *, on_gpu: bool) -> str:
    if dtype != "auto":
        return dtype
    if not on_gpu:
        return "float32"
    stored = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    name = str(stored or "float32").removeprefix("torch.")
    return name if name in DTYPES else "float32"
