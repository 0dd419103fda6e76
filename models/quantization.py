"""Weights in 4 or 8 bits, including the experts'.

A weight is stored in blocks, each scaled by its largest magnitude, and restored to the model's
precision where it is used:

    4bit   NF4 of QLoRA (arXiv 2305.14314), blocks of 64: 4.5 bits a weight
    8bit   dynamic 8-bit floats (arXiv 2110.02861), blocks of 256: 8.125 bits a weight

Arithmetic stays in the model's precision, so a quantised model computes what the full one would
with the restored weights. Experts are restored a layer at a time. Routers, embeddings, norms,
biases and thin matrices are left as they are.
"""

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from gatehouse.models.routers import find_sites

BLOCK = {"4bit": 64, "8bit": 256}
"""How many weights share a float32 scale, by quantisation."""

THIN = 16
"""Matrices with fewer rows or columns keep their precision, such as gates of shared experts."""

CHUNK = 2**20
"""Weights quantised at a time, in whole blocks; this bounds the memory quantising itself takes."""


def stored_shape(weights: int, quantization: str) -> tuple[int, int]:
    """Return (bytes of values, number of float32 scales) needed to store this many weights."""
    values = -(-weights // 2) if quantization == "4bit" else weights
    return values, -(-weights // BLOCK[quantization])


def stored_bytes(weights: int, quantization: str) -> int:
    """Return the bytes that this many weights take once quantised."""
    values, scales = stored_shape(weights, quantization)
    return values + 4 * scales


def quantizable(model: nn.Module) -> set[str]:
    """Return the names of the parameters that quantising replaces.

    They are the weights of linear layers and the matrices that hold experts; not routers,
    embeddings, norms, biases, tied weights, or thin matrices.

    Raises:
        GatehouseError: the model has no MoE layers.
    """
    sites = find_sites(model)
    routers = {id(each) for site in sites for each in site.router.parameters()}
    experts = {id(each) for site in sites for each in site.experts.parameters()}
    tied = getattr(model, "all_tied_weights_keys", {})
    kept = {*tied.keys(), *tied.values()}
    return {
        full
        for path, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if (isinstance(module, nn.Linear) or id(parameter) in experts)
        and not (isinstance(module, nn.Embedding) or id(parameter) in routers)
        and not name.endswith("bias")
        and _is_matrix(parameter)
        and (full := f"{path}.{name}".lstrip(".")) not in kept
    }


def _is_matrix(parameter: torch.Tensor) -> bool:
    return (
        parameter.ndim >= 2
        and min(parameter.shape[-2:]) >= THIN
        and parameter.shape[-1] % 2 == 0  # two 4-bit values share a byte
    )


class Blockwise(nn.Module):
    """Stores and restores one parameter, as a parametrisation of torch.

    Args:
        quantization: 4bit or 8bit.
        shape, dtype: of the parameter in use.
    """

    def __init__(self, quantization: str, shape: torch.Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.quantization = quantization
        self.shape = shape
        self.dtype = dtype
        self._keep = False
        self._kept: torch.Tensor | None = None

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (values uint8 [bytes], scales float32 [blocks]) of a weight."""
        held = stored_shape(weight.numel(), self.quantization)
        values = torch.empty(held[0], dtype=torch.uint8, device=weight.device)
        scales = torch.empty(held[1], dtype=torch.float32, device=weight.device)
        whole = stored_shape(CHUNK, self.quantization)
        chunks = weight.flatten().split(CHUNK), values.split(whole[0]), scales.split(whole[1])
        for part, its_values, its_scales in zip(*chunks, strict=True):
            found = self._quantize(part)
            its_values.copy_(found[0])
            its_scales.copy_(found[1])
        return values, scales

    def forward(self, values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return the weight in its shape and precision."""
        if self._kept is not None:
            return self._kept
        weight = self._restore(values, scales)
        if self._keep:
            self._kept = weight
        return weight

    def keep(self, while_running: bool) -> None:
        """Restore once and keep it while the owner runs, or drop what was kept."""
        self._keep, self._kept = while_running, None

    def _quantize(self, part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from bitsandbytes import functional

        block = BLOCK[self.quantization]
        if self.quantization == "4bit":
            values, state = functional.quantize_4bit(part, blocksize=block, quant_type="nf4")
        else:
            code = _dynamic_map(part.device)
            values, state = functional.quantize_blockwise(part, code=code, blocksize=block)
        return values.flatten(), state.absmax

    def _restore(self, values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        from bitsandbytes import functional

        state = functional.QuantState(
            absmax=scales,
            shape=self.shape,
            dtype=self.dtype,
            blocksize=BLOCK[self.quantization],
            quant_type="nf4",
            code=_dynamic_map(values.device),
        )
        if self.quantization == "4bit":
            return functional.dequantize_4bit(values, state)
        return functional.dequantize_blockwise(values.view(self.shape), state)


@cache
def _dynamic_map(device: torch.device) -> torch.Tensor:
    from bitsandbytes import functional

    return functional.create_dynamic_map().to(device)


def quantize_parameter(
    module: nn.Module, name: str, weight: torch.Tensor, quantization: str
) -> None:
    """Put a weight into a module's parameter, quantised on the device it is on.

    Args:
        module: owns the parameter.
        name: the parameter's name in the module.
        weight: float32, bfloat16 or float16, of the parameter's shape.
        quantization: 4bit or 8bit.
    """
    home = type(module).__module__
    setattr(module, name, nn.Parameter(weight, requires_grad=False))
    stored = Blockwise(quantization, weight.shape, weight.dtype)
    first = not parametrize.is_parametrized(module)
    parametrize.register_parametrization(module, name, stored, unsafe=True)
    type(module).__module__ = home  # parametrising gives the module a new class
    if first and not isinstance(module, nn.Linear):
        # experts may be used one by one, and each use would restore them all
        module.register_forward_pre_hook(lambda owner, arguments: _keep(owner, True))
        module.register_forward_hook(
            lambda owner, arguments, output: _keep(owner, False), always_call=True
        )


def _keep(module: Any, while_running: bool) -> None:
    for parametrizations in module.parametrizations.values():
        parametrizations[0].keep(while_running)
