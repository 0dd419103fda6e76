"""Arrays as engines write them: lists of JSON, base64, `.npy` and `.npz`; never a pickle."""

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted

AXES = {1: "one number a token", 2: "rows x tokens", 3: "tokens x layers x experts"}
OF_OBJECTS = ("Object arrays", "Python objects")
"""What NumPy says of an array that it would have to unpickle, and of one that it cannot map."""


def integers(value: Any, where: str, dimensions: int) -> np.ndarray:
    """Return integers as an array, from lists of JSON, an `.npy` in base64, or an array.

    Args:
        value: what the file has.
        where: the file and the place in it, for messages.
        dimensions: that it must have.

    Raises:
        GatehouseError: it has others, or does not hold integers.
    """
    array = _array(value, where, dimensions)
    if array.dtype.kind not in "iu":
        # a list of nothing says of nothing what it is
        if array.size or array.dtype.kind != "f":
            raise GatehouseError(
                f"{where} holds {_held(array)}, not integers: write ids of experts and tokens"
            )
        array = array.astype(np.int32)
    return array


def floats(value: Any, where: str, dimensions: int) -> np.ndarray:
    """Return finite floats as `integers` does.

    Raises:
        GatehouseError: it has other dimensions, or does not hold finite numbers.
    """
    array = _array(value, where, dimensions)
    if array.dtype.kind not in "fiu":
        raise GatehouseError(f"{where} holds {_held(array)}, not numbers: write floats")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise GatehouseError(
            f"{where} holds NaN or infinity: leave weights out where they are not known"
        )
    return array


def token_ids(value: Any, where: str) -> np.ndarray | None:
    """Return [T] int32, None for None.

    Raises:
        GatehouseError: these are no token ids.
    """
    if value is None:
        return None
    ids = integers(value, where, 1)
    if ids.size and not 0 <= ids.min() <= ids.max() < 1 << 31:
        raise GatehouseError(
            f"{where} holds {ids.min()} to {ids.max()}, and a token id is 0 or more, below 2^31: "
            "write the ids of the model's tokenizer"
        )
    return ids.astype(np.int32)


def count(value: Any, where: str) -> int:
    """Return a number of tokens.

    Raises:
        GatehouseError: it is no integer, or negative.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise GatehouseError(
            f"{where} is {quoted(repr(value))}: write a number of tokens, 0 or more"
        )
    return value


def headerless_integers(text: Any, where: str) -> np.ndarray:
    """Return [N] int32 of base64 without any header, as SGLang writes it.

    Raises:
        GatehouseError: it is no base64, or ends within an integer.
    """
    raw = _decoded(text, where)
    if raw.startswith(np.lib.format.MAGIC_PREFIX):
        raise GatehouseError(f"{where} is a whole .npy, as vLLM writes it: name the format vllm")
    if len(raw) % 4:
        raise GatehouseError(
            f"{where} has {len(raw)} bytes, which are no whole int32: copy or save it again"
        )
    return np.frombuffer(raw, "<i4")


def saved(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` by name, or the only one of an `.npy` as `""`, from the disk.

    Raises:
        GatehouseError: it cannot be read, or holds objects.
    """
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith((np.lib.format.MAGIC_PREFIX, b"PK")):
                raise ValueError("it does not begin as one")
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    # a damaged header or archive is an error of any kind
    except Exception as error:
        raise _unreadable(str(path), error) from error


def _array(value: Any, where: str, dimensions: int) -> np.ndarray:
    if isinstance(value, str):
        array = _of_text(value, where)
    else:
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError) as error:
            raise GatehouseError(
                f"{where} has rows of different lengths: write {AXES[dimensions]}, all filled"
            ) from error
    if array.ndim != dimensions:
        raise GatehouseError(f"{where} has the shape {array.shape}: write {AXES[dimensions]}")
    return array


def _of_text(text: str, where: str) -> np.ndarray:
    raw = _decoded(text, where)
    if not raw.startswith(np.lib.format.MAGIC_PREFIX):
        raise GatehouseError(
            f"{where} is base64 of something else than an .npy, SGLang's integers maybe: "
            "name the format that wrote it"
        )
    try:
        return np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except Exception as error:
        raise _unreadable(where, error) from error


def _decoded(text: Any, where: str) -> bytes:
    if not isinstance(text, str):
        raise GatehouseError(f"{where} is {type(text).__name__}, not base64: save it as it came")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GatehouseError(
            f"{where} is cut short or damaged base64 ({quoted(error)}): copy or save it again"
        ) from error


def _held(array: np.ndarray) -> str:
    return "objects" if array.dtype.kind == "O" else f"{array.dtype}"


def _unreadable(where: str, error: BaseException) -> GatehouseError:
    if any(words in str(error) for words in OF_OBJECTS):
        return GatehouseError(
            f"{where} holds objects, which are not read, because that can run programs: "
            "save an array of numbers, not of objects, with numpy.save or numpy.savez"
        )
    return GatehouseError(
        f"{where} is no readable .npy or .npz ({quoted(error)}): copy or save it again"
    )
