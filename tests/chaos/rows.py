"""A table's rows: what must be equal, and the floats that may be a little apart."""

import hashlib
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """A table in a fixed order: a hash of all but its floats, and these beside it.

    Floats in lists and structs are floats, too.
    """

    rows: int
    digest: str
    floats: dict[str, np.ndarray]

    @classmethod
    def of(cls, table: pa.Table, without: set[str]) -> "Rows":
        """Take a table's rows, sorted by all but their floats, then by these."""
        columns = {name: table[name] for name in table.column_names if name not in without}
        exact: dict[str, list[Any]] = {}
        floats: dict[str, list[list[float]]] = {}
        for name, column in columns.items():
            exact[name] = column.to_pylist()
            if _holds_floats(column.type):
                parted = [_parted(value) for value in exact[name]]
                exact[name] = [value for value, _ in parted]
                floats[name] = [values for _, values in parted]
        lines = [repr(row) for row in zip(*exact.values())] or [""] * table.num_rows
        ties = [repr(row) for row in zip(*floats.values())] or [""] * table.num_rows
        order = sorted(range(table.num_rows), key=lambda row: (lines[row], ties[row]))
        digest = hashlib.sha256("\n".join(lines[row] for row in order).encode())
        arrays = {
            name: np.array(list(chain.from_iterable(values[row] for row in order)), float)
            for name, values in floats.items()
        }
        return cls(table.num_rows, digest.hexdigest(), arrays)

    def distances(self, other: "Rows") -> dict[str, float]:
        """Return how far apart each column of floats is; infinite where anything exact differs."""
        same = (self.rows, self.digest) == (other.rows, other.digest)
        if not same or self.floats.keys() != other.floats.keys():
            return {"exact columns": np.inf}
        return {name: _apart(values, other.floats[name]) for name, values in self.floats.items()}


def _holds_floats(kind: pa.DataType) -> bool:
    within = (kind.field(place).type for place in range(kind.num_fields))
    return pa.types.is_floating(kind) or any(map(_holds_floats, within))


def _parted(value: Any) -> tuple[Any, list[float]]:
    """Return a value without the floats in it, and these in their order."""
    if isinstance(value, float):
        return float, [value]
    if not isinstance(value, (dict, list, tuple)):
        return value, []
    parts = [_parted(each) for each in (value.items() if isinstance(value, dict) else value)]
    return [exact for exact, _ in parts], [each for _, floats in parts for each in floats]


def _apart(left: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference; for values above 1, as a fraction of the value."""
    if left.shape != right.shape or not np.array_equal(np.isnan(left), np.isnan(right)):
        return np.inf
    apart = np.abs(left - right) / np.maximum(1.0, np.abs(left))
    return float(np.nanmax(apart, initial=0.0)) if left.size else 0.0
