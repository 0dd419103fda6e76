"""Where and how weights are loaded: devices, attention, quantisation, what a checkpoint lacks."""

import importlib.util
import os
from typing import Any

import torch
import transformers.utils
from torch import nn
from transformers import (
    MODEL_MAPPING,
    AttentionInterface,
    AutoModel,
    AutoModelForCausalLM,
)
from transformers.utils.quantization_config import Mxfp4Config

from gatehouse.models.checkpoint.stored import stored_format
from gatehouse.models.quantization import BLOCK
from gatehouse.warehouse.errors import GatehouseError

SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
"""Device maps that spread modules over all devices, as accelerate does."""

ROOM = 0.9
"""Share of a GPU's memory that weights may take; the rest is for activations."""


def check_device(device_map: str | None) -> str:
    """Return the device map to use: the one named, else the GPU if there is one, else the CPU.

    Raises:
        GatehouseError: no such device here.
    """
    if device_map is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device_map in SPREAD:
        return device_map
    try:
        if torch.device(device_map).type == "meta":
            raise RuntimeError("holds no weights")
        torch.empty(1, device=device_map)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise GatehouseError(
            f"--device-map {device_map}: no such device here; there is {', '.join(['cpu', *gpus])}"
            f", or {', '.join(SPREAD)} for all of them"
        ) from error
    return device_map


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    number = torch.cuda.device_count()
    named = [each.strip() for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return [each for each in named if each][:number] or [str(index) for index in range(number)]


def gpu_bytes(device_map: str) -> int | None:
    """Return the memory of the GPUs that a device map names, None if it names none."""
    if not torch.cuda.is_available():
        return None
    if device_map in SPREAD:
        indices = list(range(torch.cuda.device_count()))
    elif torch.device(device_map).type == "cuda":
        indices = [torch.device(device_map).index or 0]
    else:
        return None
    return sum(torch.cuda.get_device_properties(index).total_memory for index in indices)


def check_attention(name: str | None, dtype: str) -> None:
    """Refuse an unavailable attention implementation; None leaves the choice to transformers.

    Kernels of the hub (owner/name) are downloaded code, so they are refused like unknown names.

    Raises:
        GatehouseError: no such implementation, or one that is not installed.
    """
    if name is None:
        return
    known = ["eager", *(key for key in AttentionInterface().valid_keys() if "|" not in key)]
    if name not in known:
        raise GatehouseError(f"unknown attention implementation {name!r}: {', '.join(known)}")
    if name.startswith("flash_attention_"):
        there = getattr(transformers.utils, f"is_flash_attn_{name[-1]}_available", None)
        if not (there and there()):
            raise GatehouseError(
                f"--attn-implementation {name} needs a GPU and its flash-attn package: leave it "
                "out for sdpa"
            )
        if dtype == "float32":
            raise GatehouseError(
                f"--attn-implementation {name} computes in half precision only: add --dtype "
                "bfloat16, or leave it out for sdpa"
            )


def choose_quantization(quantize: str, config: Any, weight_bytes: int, capacity: int | None) -> str:
    """Return how the weights are quantised: 4bit or 8bit as they load, as they are stored, or none.

    Args:
        quantize: 4bit, 8bit, none, the format the checkpoint is stored in, or auto, which is 4bit
            if the weights do not fit the GPUs.
        config: states how the checkpoint is stored; a quantised one keeps its numbers.
        weight_bytes: of the full model.
        capacity: bytes of the GPUs' memory, None on a CPU. All of it, not only what is free,
            so that the same command has the same run id tomorrow.

    Raises:
        GatehouseError: no such quantisation, no bitsandbytes, or a quantised checkpoint.
    """
    stored = stored_format(config)
    if stored and quantize in ("auto", "none", stored):
        return stored
    if quantize not in ("auto", "none", *BLOCK):
        raise GatehouseError(f"unknown quantization {quantize!r}: {', '.join(BLOCK)} or none")
    if quantize == "auto":
        too_large = capacity is not None and weight_bytes > ROOM * capacity
        quantize = "4bit" if too_large else "none"
    if quantize == "none":
        return quantize
    if stored:
        raise GatehouseError(
            f"the checkpoint is stored in {stored} already: leave --quantize out, or use its "
            "16-bit version"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise GatehouseError(
            f"{weight_bytes / 1e9:.3g} GB of weights in {quantize} need bitsandbytes: `pip install "
            "bitsandbytes`, or add --no-quantize"
        )
    return quantize


def dequantizing(config: Any) -> Any:
    """Return the option that makes transformers restore the stored format, None without one."""
    return Mxfp4Config(dequantize=True) if stored_format(config) == "mxfp4" else None


def restore_linear(model: Any, dtype: torch.dtype) -> Any:
    """Return a model whose linear layers bitsandbytes holds in 4 or 8 bits, with plain ones.

    Its kernels compute in another type than the model's, and not every shape on a CPU.

    Args:
        model: loaded from a checkpoint that bitsandbytes stored.
        dtype: of the restored weights.
    """
    narrow = (torch.uint8, torch.int8)
    linear = (each for each in model.modules() if isinstance(each, nn.Linear))
    if any(each.weight.dtype in narrow for each in linear):
        model = model.dequantize(dtype)
    names = ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict")
    full = {part for name in names for part in getattr(model, name, None) or ()}
    for path, weight in model.named_parameters():
        # what stands beside the linear layers comes in the type that it was stored in
        if weight.is_floating_point() and not any(part in path for part in full):
            weight.data = weight.data.to(dtype)
    return model


def auto_class(config: Any) -> Any:
    """Return the class that loads a model: for remote code, the one its repository offers."""
    offered = getattr(config, "auto_map", None) or {}
    local = type(config) in MODEL_MAPPING
    if not local and "AutoModel" not in offered and "AutoModelForCausalLM" in offered:
        return AutoModelForCausalLM
    return AutoModel


def loaded_config(config: Any) -> Any:
    """Return the config of the part that is loaded: for Qwen-Omni the thinker, which reads text.

    One that states an 8-bit type then states bfloat16: no model computes in 8 bits.
    """
    thinker = getattr(config, "thinker_config", None)
    part = thinker if thinker is not None and type(config) not in MODEL_MAPPING else config
    for each in (part, part.get_text_config()):
        if "float8" in str(getattr(each, "dtype", None)):
            each.dtype = torch.bfloat16
    return part


def backbone(model: Any, config: Any) -> Any:
    """Return the model without its head, if `auto_class` loads it with one."""
    return model.base_model if auto_class(config) is AutoModelForCausalLM else model


def check_finite_weights(name: str, model: Any) -> None:
    """Refuse a checkpoint with NaN or infinity in a matrix that any token may use.

    Vectors may hold minus infinity, as in a bias that switches an expert off. Rows of an embedding
    may hold anything if their tokens never occur.

    Args:
        name: of the model.
        model: loaded; weights that are not on a device yet are left out.

    Raises:
        GatehouseError: names the first such weight.
    """
    embeddings = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    for path, weight in model.named_parameters():
        read = weight.is_floating_point() and weight.dtype.itemsize > 1 and not weight.is_meta
        if not read or weight.ndim < 2 or id(weight) in embeddings:
            continue
        # one pass without a copy (a sum in another dtype would make one on a CPU); finite numbers
        # whose sum overflows are then checked one by one, an expert at a time
        if not (weight.sum().isfinite() or all(part.isfinite().all() for part in weight)):
            raise GatehouseError(
                f"{name!r} has NaN or infinity among its weights ({path}): the checkpoint is "
                "damaged, or --dtype has less range than it was stored in"
            )


def device_name(device_map: str) -> str:
    """Return the name of the devices that a device map names, as it is in a run's record."""
    if gpu_bytes(device_map) is None:
        return f"CPU, {torch.get_num_threads()} threads"
    if device_map in SPREAD:
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return ", ".join(names)
    return torch.cuda.get_device_name(torch.device(device_map))
