"""Hooks that would stay silent are noticed on the first batch, with the way out."""

import pytest
import torch

from gatehouse.models.batches import pad
from gatehouse.models.capture import RoutingTap, capture
from gatehouse.warehouse.errors import GatehouseError
from tests.models.families.builders import BUILDERS
from tests.models.families.observation import random_windows

WINDOWS = random_windows([8])


def silent(model: torch.nn.Module) -> str:
    with RoutingTap(model) as tap, pytest.raises(GatehouseError) as caught:
        capture(tap, [WINDOWS])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_compiled_before_the_hooks_came():
    model = BUILDERS["mixtral"]()
    model.compile(backend="eager")
    token_ids, mask = pad(WINDOWS)
    with torch.inference_mode():
        model(input_ids=token_ids, attention_mask=mask.long(), use_cache=False)
    assert "layers.0.mlp.gate" in (message := silent(model))
    assert "seen 0 and 0 times" in message and "load it without torch.compile" in message


def with_replaced_blocks() -> torch.nn.Module:
    """Imitates kernels that take over whole blocks; the hub's and MXFP4's cannot run here."""
    model = BUILDERS["gpt_oss"]()
    for layer in model.layers:
        layer.mlp.forward = lambda hidden: (hidden, None)
    return model


def test_blocks_replaced_by_mxfp4():
    model = with_replaced_blocks()
    model.config.quantization_config = {"quant_method": "mxfp4"}
    assert "load the checkpoint with Mxfp4Config(dequantize=True)" in silent(model)


def test_blocks_replaced_by_kernels_of_the_hub():
    model = with_replaced_blocks()
    model._use_kernels = True
    assert "load the model with use_kernels=False" in silent(model)


def test_blocks_replaced_by_something_else():
    assert "does not run its router and experts once each" in silent(with_replaced_blocks())
