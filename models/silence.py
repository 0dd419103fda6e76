"""Why hooks on a model can stay silent, and the way out."""

from torch import nn


def why_silent(model: nn.Module) -> str:
    """Return the likeliest reason that hooks did not fire once a batch, and what to do."""
    quantization = getattr(getattr(model, "config", None), "quantization_config", None) or {}
    settings = quantization if isinstance(quantization, dict) else vars(quantization)
    if "mxfp4" in str(settings.get("quant_method")).lower():
        return (
            "MXFP4 kernels replace the whole block; load the checkpoint with "
            "Mxfp4Config(dequantize=True), as Gatehouse's own loading does"
        )
    if any(getattr(module, "_compiled_call_impl", None) for module in model.modules()):
        return "the model is compiled, which skips hooks; load it without torch.compile"
    if getattr(model, "use_kernels", False):
        return "hub kernels replace the block; load the model with use_kernels=False"
    return (
        "its block does not run its router and experts once each as modules; load the model "
        "without compilation and without replaced kernels"
    )
