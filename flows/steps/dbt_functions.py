"""Functions that the dbt project's SQL calls: what a simulation finds in tokens that are in order.

dbt-duckdb loads this module, as `profiles.yml` says, and gives its connection to `Plugin`. SQL
brings the tokens of each stream as a list, and counts what comes back for each of their experts.
"""

import os
from collections import defaultdict
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from dbt.adapters.duckdb.plugins import BasePlugin

from gatehouse.flows.steps.dbt_runs import BASE, attach_base
from gatehouse.reports.inference import belady, lfu, lru
from gatehouse.reports.inference.accesses import Integers, side_by_side
from gatehouse.reports.inference.prefetch import by_keys, by_layer_before, same_again
from gatehouse.warehouse.storage.addresses import checked_address, is_address
from gatehouse.warehouse.storage.places import register_bucket

POLICIES = {"lru": lru, "lfu": lfu, "belady": belady}
EXPERTS, KEYS, FOUND = "USMALLINT[][]", "BIGINT[][]", "INTEGER[][]"
Rows: TypeAlias = "pa.ChunkedArray | pa.Array"


class Plugin(BasePlugin):
    """What dbt-duckdb asks for the project's functions, and for what they read."""

    def configure_connection(self, conn: Any) -> None:
        """Register the functions under the names that SQL calls them by."""
        functions: list[tuple[Any, list[str]]] = [
            (cache_distances, [EXPERTS, "INTEGER", "VARCHAR"]),
            (ranks_of_same_again, [EXPERTS, "UINTEGER[]", "INTEGER", "INTEGER"]),
            (ranks_by_keys, [EXPERTS, EXPERTS, KEYS, KEYS, "INTEGER"]),
            (ranks_by_layer_before, [EXPERTS, EXPERTS, EXPERTS, EXPERTS, "INTEGER"]),
        ]
        for function, parameters in functions:
            conn.create_function(function.__name__, function, parameters, FOUND, type="arrow")
        if base := os.environ.get(BASE):
            attach_base(conn, base)
        lake = os.environ.get("GATEHOUSE_LAKE", "")
        if is_address(lake):
            register_bucket(conn, checked_address(lake), confined=True, snapshot=True)


def cache_distances(experts: Rows, num_experts: Rows, policy: Rows) -> pa.Array:
    """Return the stack distance of each access of each stream, as `expert_cache` defines it.

    Args:
        experts: a stream's tokens, each with its experts.
        num_experts: how many there are to ask for.
        policy: of POLICIES.
    """
    streams = [_tokens(row) for row in experts]
    alike = defaultdict(list)
    for place, kind in enumerate(zip(num_experts.to_pylist(), policy.to_pylist(), strict=True)):
        alike[*kind, streams[place].shape[1]].append(place)
    found: dict[int, Integers] = {}
    for (width, name, _), places in alike.items():
        # streams that advance together take little longer than one
        together = side_by_side([streams[place] for place in places], width)
        distances = POLICIES[name](together)
        for row, place, length in zip(distances, places, together.lengths, strict=True):
            found[place] = row[:length]
    return _lists([found[place] for place in range(len(streams))])


def ranks_of_same_again(
    experts: Rows, positions: Rows, horizon: Rows, num_experts: Rows
) -> pa.Array:
    """Return each expert's rank in the set of an earlier token, as `prefetch.same_again` does."""
    rows = zip(experts, positions, horizon.to_pylist(), num_experts.to_pylist(), strict=True)
    return _lists(
        [same_again(_tokens(chosen), _numbers(places), *rest) for chosen, places, *rest in rows]
    )


def ranks_by_keys(
    learned: Rows, asked: Rows, learned_keys: Rows, asked_keys: Rows, num_experts: Rows
) -> pa.Array:
    """Return each asked expert's rank by the tokens' keys, as `prefetch.by_keys` does.

    The keys are lists beside the tokens, the most telling first.
    """
    rows = zip(learned, asked, learned_keys, asked_keys, num_experts.to_pylist(), strict=True)
    found = []
    for of_learned, of_asked, known, wanted, width in rows:
        keys = [*zip(map(_numbers, known), map(_numbers, wanted), strict=True)]
        found.append(by_keys(_tokens(of_learned), _tokens(of_asked), keys, width))
    return _lists(found)


def ranks_by_layer_before(
    learned: Rows, asked: Rows, learned_before: Rows, asked_before: Rows, num_experts: Rows
) -> pa.Array:
    """Return each asked expert's rank by the layer before, as `prefetch.by_layer_before` does."""
    rows = zip(learned, asked, learned_before, asked_before, strict=True)
    return _lists(
        [
            by_layer_before(
                _tokens(of_learned), _tokens(of_asked), (_tokens(known), _tokens(wanted)), width
            )
            for (of_learned, of_asked, known, wanted), width in zip(
                rows, num_experts.to_pylist(), strict=True
            )
        ]
    )


def _numbers(row: Any) -> Integers:
    """Return a list of DuckDB's as an array."""
    numbers: Integers = row.values.to_numpy(zero_copy_only=False)
    return numbers


def _tokens(row: Any) -> Integers:
    """Return a stream's (tokens, top_k) experts: all its tokens have as many."""
    tokens = row.values
    experts: Integers = tokens.flatten().to_numpy(zero_copy_only=False)
    return experts.reshape(len(tokens), -1)


def _lists(found: list[Integers]) -> pa.Array:
    """Return (tokens, top_k) numbers of each stream as DuckDB takes them."""
    tokens = [len(stream) for stream in found]
    widths = [np.full(len(stream), stream.shape[1]) for stream in found]
    numbers = np.concatenate([stream.ravel() for stream in found]).astype(np.int32)
    inner = pa.ListArray.from_arrays(_offsets(np.concatenate(widths)), pa.array(numbers))
    return pa.ListArray.from_arrays(_offsets(np.array(tokens)), inner)


def _offsets(lengths: Integers) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
