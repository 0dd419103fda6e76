"""FP8 checkpoints: their weights restored to the 16 bits that they were made from.

A weight is a matrix of 8-bit floats and its scales, by which they are multiplied: one for the whole
matrix, one for each row, or one for each block of `weight_block_size`, of which the last ones may
be partial. transformers derives the size of a block from the two shapes, which goes wrong there.

The product is rounded to the checkpoint's own 16-bit type, whatever the run computes in: these are
the numbers of the model's 16-bit version, so both route alike.
"""

import copy
import re
from typing import Any

import torch
from transformers.core_model_loading import WeightRenaming
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.quantizers import register_quantization_config, register_quantizer
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer
from transformers.utils.quantization_config import FineGrainedFP8Config

from gatehouse.models.checkpoint.stored import StoredTensor, stated
from gatehouse.warehouse.errors import GatehouseError

SCALES = (
    (r"$", "_scale_inv"),
    (r"$", "_scale"),
    (r"weight$", "scale"),
    (r"weight$", "qscale_weight"),
)
"""How a weight's name becomes that of its scales, in the checkpoints of different makers."""

PACKED = (1, 32)
"""Blocks of experts in 4 bits (MXFP4), two numbers a byte, that an FP8 checkpoint may hold."""

Block = tuple[int, int] | None


def restoring(config: Any) -> Any:
    """Return a copy of a checkpoint's config that makes transformers restore its FP8 weights."""
    restored = copy.deepcopy(config)
    kept = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    halves = kept if kept in (torch.bfloat16, torch.float16) else torch.bfloat16
    restored.quantization_config = stated(config) | {
        "quant_method": "gatehouse_fp8",
        "dequantize": True,
        "restored": str(halves).removeprefix("torch."),
    }
    return restored


def check_scales(name: str, config: Any, tensors: dict[str, StoredTensor]) -> None:
    """Refuse FP8 weights whose scales are missing, or do not cover them in the blocks stated.

    Args:
        name: of the model.
        config: states weight_block_size.
        tensors: what the checkpoint holds.

    Raises:
        GatehouseError: names the first such weight, or what is stated is no block.
    """
    size = stated(config).get("weight_block_size")
    if not _is_block(size):
        raise GatehouseError(
            f"{name!r} has {size!r} as weight_block_size, which is not two numbers above 0: "
            "restore the config.json that came with these weights"
        )
    block = _block(size)
    packs = stated(config).get("expert_dtype") == "fp4"
    for weight, tensor in tensors.items():
        packed = packs and tensor.dtype in ("I8", "F4")
        is_weight = tensor.dtype in ("F8_E4M3", "F8_E5M2") or packed
        if not is_weight or len(tensor.shape) < 2:
            continue
        names = [re.sub(ending, scale, weight, count=1) for ending, scale in SCALES]
        scales = next((tensors[each] for each in names if each in tensors), None)
        if scales is None:
            raise GatehouseError(
                f"{name!r} holds {weight} in FP8 without its scale ({names[0]}): the checkpoint is "
                "incomplete; fetch or copy it again"
            )
        *of, columns = tensor.shape
        shape = (*of, columns * 2) if packed else tensor.shape
        if not _covers(scales.shape, shape, PACKED if packed else block):
            raise GatehouseError(
                f"{name!r} has {list(scales.shape)} scales for {weight} {list(shape)}, which are "
                f"not one for each block of its weight_block_size, {list(block or []) or 'none'}: "
                "restore the config.json that came with these weights"
            )


def _is_block(size: Any) -> bool:
    if not isinstance(size, list | tuple | None):
        return False
    numbers = [isinstance(each, int) and each > 0 for each in size or ()]
    return numbers in ([], [True, True])


def _block(stated_size: Any) -> Block:
    return (int(stated_size[0]), int(stated_size[1])) if stated_size else None


def _covers(scales: tuple[int, ...], weight: tuple[int, ...], block: Block) -> bool:
    *stack, rows, columns = weight
    if scales in ((), (1,), (1, 1)):
        return not stack
    if block is None:
        return scales in ((*stack, rows, 1), (*stack, rows))
    return scales == (*stack, -(-rows // block[0]), -(-columns // block[1]))


def restore(values: torch.Tensor, scales: torch.Tensor, block: Block) -> torch.Tensor:
    """Return values [..., rows, columns] times their scales, in float32.

    Args:
        values: floating point.
        scales: one number, [..., rows, 1] or [..., rows] if there is no block, or one for each
            block; uint8 are exponents of two, biased by 127.
        block: rows and columns; the last ones may be partial.
    """
    rows, columns = values.shape[-2:]
    factors = (scales.float() - 127).exp2() if scales.dtype == torch.uint8 else scales.float()
    if factors.numel() == 1:
        factors = factors.reshape(())
    elif block is None:
        factors = factors.reshape(*values.shape[:-1], 1)
    else:
        factors = factors.repeat_interleave(block[0], -2)[..., :rows, :]
        factors = factors.repeat_interleave(block[1], -1)[..., :columns]
    return values.float() * factors


@register_quantization_config("gatehouse_fp8")
class RestoredFp8Config(FineGrainedFP8Config):
    """The stored format as its config states it, and the type its weights are restored to."""

    def __init__(
        self,
        weight_block_size: Any = None,
        restored: str = "bfloat16",
        **stated: Any,
    ) -> None:
        super().__init__(weight_block_size=weight_block_size, **stated)
        self.restored = restored


@register_quantizer("gatehouse_fp8")
class RestoredFp8Quantizer(FineGrainedFP8HfQuantizer):
    """Has transformers restore each weight as it is read, before experts are stacked."""

    quantization_config: RestoredFp8Config

    def get_load_operations(self) -> dict[str, Any]:
        """Return the first step in loading a parameter."""
        return {"dequantize": _Restore}

    def update_weight_conversions(self, weight_conversions: Any, model: Any) -> Any:
        """Return the conversions with one more name of scales: that of vLLM's checkpoints."""
        renamed = WeightRenaming(r"\.weight_scale$", ".weight_scale_inv")
        return [renamed, *super().update_weight_conversions(weight_conversions, model)]

    def _process_model_before_weight_loading(self, model: Any, **options: Any) -> None:
        """Leave every module as it is: no weight stays in FP8."""


class _Restore(Fp8Dequantize):
    def _dequantize_one(
        self, quantized: torch.Tensor, scales: torch.Tensor, output_dtype: Any = None
    ) -> torch.Tensor:
        config = self.hf_quantizer.quantization_config
        halves = getattr(torch, config.restored)
        packed = quantized.dtype == torch.int8 or "float4" in str(quantized.dtype)
        values = self._unpack_fp4(quantized) if packed else quantized
        block = PACKED if packed else _block(config.weight_block_size)
        return restore(values, scales, block).to(halves).to(output_dtype or halves)

    def convert(self, input_dict: dict[str, Any], *parts: Any, **context: Any) -> dict[str, Any]:
        """Return the weights restored, and those that were stored in 16 bits in the same type."""
        found = super().convert(input_dict, *parts, **context)
        dtype = self._get_target_dtype(context.get("model"), context.get("full_layer_name"))
        return {
            key: [_cast(each, dtype) for each in value]
            if isinstance(value, list)
            else _cast(value, dtype)
            for key, value in found.items()
        }


def _cast(value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return value if dtype is None or not value.is_floating_point() else value.to(dtype)
