"""What `torch.save` wrote, read without running what it may hold."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted

FOREIGN = re.compile(r"(?:GLOBAL |but got <class ')([\w.]+)")
"""What torch says of an object that it does not make."""


def loaded(path: Path) -> Any:
    """Return what a file of `torch.save` holds: plain objects, tensors, and arrays of numbers.

    Tensors stay on the disk until they are read.

    Raises:
        GatehouseError: it is no such file, or holds other objects.
    """
    import torch

    try:
        # what was written before torch 1.6 is no zip archive, and cannot be mapped
        with torch.serialization.safe_globals(_arrays()):
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except OSError as error:
        reason = error.strerror or quoted(error)
        raise GatehouseError(f"cannot read {path}: {reason}; check the file") from error
    # torch raises errors of many kinds for files that are damaged
    except Exception as error:
        if foreign := FOREIGN.search(str(error)):
            raise GatehouseError(
                f"{path} holds {quoted(foreign[1])}, which is not read, because that can run "
                "programs: save tensors, numbers and text with torch.save"
            ) from error
        raise GatehouseError(
            f"{path} is no readable file of torch.save: copy or save it again"
        ) from error


def as_array(value: Any, where: str) -> Any:
    """Return a tensor as an array, floats of any kind as float32, and anything else as it is.

    Raises:
        GatehouseError: it is a sparse or quantized tensor.
    """
    if not hasattr(value, "is_floating_point"):
        return value
    try:
        # NumPy has no bfloat16
        return (value.float() if value.is_floating_point() else value).numpy()
    except (TypeError, RuntimeError) as error:
        raise GatehouseError(
            f"{where} is a tensor of another kind ({quoted(error)}): save it dense, on the CPU"
        ) from error


def _arrays() -> list[Any]:
    """Return what NumPy's arrays and numbers are made from, by the names of NumPy 1 and 2."""
    from numpy._core.multiarray import _reconstruct, scalar

    kinds = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
    return [
        np.ndarray,
        np.dtype,
        (_reconstruct, "numpy.core.multiarray._reconstruct"),
        (_reconstruct, "numpy._core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        *(type(np.dtype(kind)) for kind in kinds.split()),
    ]
