"""How large one expert of a layer is: what a cache holds, and a miss loads."""

from typing import Any

from gatehouse.models.routers import RouterSite

STORED_BITS = {"mxfp4": 4.25, "fp8": 8.0, "finegrained_fp8": 8.0}
"""Bits of a weight in checkpoints that state a quantisation of the experts: MXFP4 has a byte for
every 32 weights of 4 bits (OCP Microscaling Formats, 2023); the scales of FP8 blocks are not
counted, which are fewer than 1 in 16,384 weights."""


def loaded_bytes(site: RouterSite) -> int:
    """Return the mean bytes that an expert takes as loaded, quantised or not."""
    tensors = [*site.experts.parameters(), *site.experts.buffers()]
    return round(sum(each.numel() * each.element_size() for each in tensors) / _held(site))


def planned_bytes(site: RouterSite, config: Any) -> int | None:
    """Return the bytes of an expert by the model's config; None if that does not tell.

    Args:
        site: a layer of the model without its weights.
        config: of the whole model; its type of numbers counts, or the quantisation that it states.
    """
    weights = sum(each.numel() for each in site.experts.parameters()) / _held(site)
    stated = getattr(config, "quantization_config", None)
    if stated:
        method = stated.get("quant_method") if isinstance(stated, dict) else stated.quant_method
        bits = STORED_BITS.get(str(getattr(method, "value", method)))
    else:
        dtype = getattr(config.get_text_config(), "dtype", None) or getattr(config, "dtype", None)
        bits = 8.0 * dtype.itemsize if dtype is not None else None
    return None if bits is None else round(weights * bits / 8)


def _held(site: RouterSite) -> int:
    """Return how many experts a layer holds, without those that compute nothing if it says so."""
    for module in site.experts.modules():
        stated = getattr(module, "num_experts", None)
        if isinstance(stated, int) and stated > 0:
            return stated
    return site.num_experts
