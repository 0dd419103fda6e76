"""Numbers as text that a page can carry: small, exact where they are whole, never NaN."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

Packed = dict[str, Any]

WHOLE_BITS = (8, 16, 32)
THOUSANDTHS = 1000
DIGITS = 6
"""Significant digits of the numbers that are written as plain JSON."""

ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def packed(values: ArrayLike, scale: int = 1) -> Packed:
    """Return values, 0 or more, as base64 of the narrowest little-endian type that holds them.

    Args:
        values: any shape, flattened row by row; values that are not finite are missing, and
            become the type's largest number (nan where the type is f64).
        scale: values are multiplied by it and rounded: 1 keeps whole numbers exact.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    missing = ~np.isfinite(numbers)
    whole = np.maximum(np.rint(numbers * scale), 0)
    largest = whole[~missing].max(initial=0)
    bits = next((bits for bits in WHOLE_BITS if largest < 2**bits - 1), None)
    if bits is None:
        name, content = "f64", np.where(missing, np.nan, whole).astype("<f8")
    else:
        name, content = f"u{bits}", np.where(missing, 2**bits - 1, whole).astype(f"<u{bits // 8}")
    data = base64.b64encode(content.tobytes()).decode("ascii")
    return {"type": name, "scale": scale, "data": data}


def columns(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, list[Any]]:
    """Return the columns of a small frame as lists; missing values are None."""
    return {name: plain(frame[name]) for name in names}


def plain(values: Iterable[Any]) -> list[Any]:
    """Return values as JSON types: whole, rounded to DIGITS significant digits, text or None."""
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, str | bool | np.bool_):
        return value if isinstance(value, str) else bool(value)
    number = float(value)
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() else float(f"{number:.{DIGITS}g}")


def script_json(content: Any) -> str:
    """Return JSON that is safe within a script element, whatever text it holds.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.translate(ESCAPES)
