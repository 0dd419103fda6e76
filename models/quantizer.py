"""Quantising while loading: transformers streams a checkpoint parameter by parameter, and each one
is quantised as soon as it is read and converted, so that no more than one is held in full.
"""

from typing import Any

import torch
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from gatehouse.models.quantization import quantizable, quantize_parameter, stored_bytes
from gatehouse.warehouse.errors import GatehouseError


@register_quantization_config("gatehouse")
class BlockwiseConfig(QuantizationConfigMixin):
    """The quantisation that transformers gets as its config: 4bit or 8bit."""

    def __init__(self, quantization: str) -> None:
        self.quant_method = "gatehouse"  # type: ignore[assignment]
        self.quantization = quantization


@register_quantizer("gatehouse")
class BlockwiseQuantizer(HfQuantizer):
    """Has transformers quantise each parameter as soon as it is read and converted."""

    requires_calibration = False
    is_trainable = False
    quantization_config: BlockwiseConfig

    def is_serializable(self) -> bool:
        """Return False: checkpoints are read, not written."""
        return False

    def validate_environment(self, device_map: Any = None, **options: Any) -> None:
        """Refuse to split quantised weights between a GPU and the CPU or the disk.

        Raises:
            GatehouseError: they do not fit the GPUs.
        """
        places = (
            {str(place) for place in device_map.values()} if hasattr(device_map, "values") else {}
        )
        if len(places) > 1 and {"cpu", "disk"} & set(places):
            raise GatehouseError(
                "the quantised model does not fit the GPUs: run on more of them, or on the CPU "
                "with --device-map cpu"
            )

    def param_needs_quantization(self, model: Any, param_name: str, **options: Any) -> bool:
        """Return whether a parameter is to be quantised."""
        return param_name in self.names

    def param_element_size(self, model: Any, param_name: str, param: torch.Tensor) -> float:
        """Return a parameter's bytes per weight, for placing it on a device."""
        if param_name not in self.names:
            return param.element_size()
        return stored_bytes(param.numel(), self.quantization_config.quantization) / param.numel()

    def get_quantize_ops(self) -> ConversionOps:
        """Return the last step in loading a parameter."""
        return _Quantize(self.quantization_config.quantization, self.names)

    def _process_model_before_weight_loading(self, model: Any, **options: Any) -> None:
        self.names = quantizable(model)


class _Quantize(ConversionOps):
    """Puts loaded weights into their modules, quantised, and hands the others on."""

    def __init__(self, quantization: str, names: set[str]) -> None:
        self.quantization = quantization
        self.names = names

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str],
        target_patterns: list[str],
        **context: Any,
    ) -> dict[str, list[torch.Tensor]]:
        """Return the weights, by full name, that transformers still has to put into the model."""
        others = {}
        for full in list(input_dict):
            value = input_dict.pop(full)
            weight = value[0] if isinstance(value, list) else value
            if full not in self.names:
                others[full] = [weight]
                continue
            path, _, name = full.rpartition(".")
            module = context["model"].get_submodule(path)
            if weight.shape != (expected := getattr(module, name).shape):
                raise ValueError(f"{full} is {list(weight.shape)}, not {list(expected)}")
            quantize_parameter(module, name, weight, self.quantization)
            module._is_hf_initialized = True  # or transformers would initialise it again
            context["missing_keys"].discard(full)
        return others
