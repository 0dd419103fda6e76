"""A run as the routing of rollouts (R3), which slime and miles replay in training."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports.exports.events import ROWS, no_events
from gatehouse.reports.exports.torch_files import save
from gatehouse.reports.marts.session import frame_of, relation_of
from gatehouse.warehouse.errors import GatehouseError

LAYERS = """
    select block, top_k
    from dim_layer
    where run_id = $1
    order by moe_index
"""

RUN = """
    select runs.has_token_ids, runs.max_length, count(events.run_id) as events
    from dim_run as runs
    left join events on runs.run_id = events.run_id
    where runs.run_id = $1
    group by runs.has_token_ids, runs.max_length
"""

SAMPLES = """
    select
        sample_id,
        tokens - prompt_tokens as generated,
        dense_rank() over (order by document_sha256) - 1 as document
    from dim_sample
    where run_id = $1
"""

EVENTS = """
    select sample_id, position, token_id, experts
    from events
    where run_id = $1
    order by sample_id, position, layer
"""


def write_rollouts(connection: duckdb.DuckDBPyConnection, run_id: str, target: Path) -> None:
    """Write `{"rollout_id": 0, "samples": [{"tokens", "rollout_routed_experts", …}, …]}`.

    It is what `--save-debug-rollout-data` writes, with `torch.save`: of each sequence the token
    ids, and an int32 tensor [tokens - 1, blocks up to the last MoE layer, k] of the experts of
    every token but the last; blocks without experts have zeros. What the model read on its own is
    a sequence, so windows are several; a sequence of one token has no routing, and is left out.
    All of a run is in memory.

    Raises:
        GatehouseError: the run has no events or no token ids; its layers choose different numbers
            of experts, or two are of one block.
    """
    import torch

    layers, run = frame_of(connection, LAYERS, [run_id]), frame_of(connection, RUN, [run_id])
    _check(run_id, layers, run)
    # the tensors share one storage, which torch writes once
    where, routed = _routed(connection, run_id, layers, int(run["events"].iloc[0]))
    tensor = torch.from_numpy(routed)
    samples = frame_of(connection, SAMPLES, [run_id]).set_index("sample_id")
    written: list[dict[str, object]] = []
    for first, end in _sequences(where, int(run["max_length"].iloc[0])):
        sample = samples.loc[where["sample_id"][first]]
        written.append(
            {
                "index": len(written),
                "group_index": int(sample["document"]),
                "tokens": where["token_id"][first:end].tolist(),
                "response_length": int(sample["generated"]),
                "status": "completed",
                "rollout_routed_experts": tensor[first : end - 1],
            }
        )
    save({"rollout_id": 0, "samples": written}, target)


def _check(run_id: str, layers: pd.DataFrame, run: pd.DataFrame) -> None:
    if not run["events"].iloc[0]:
        raise no_events(run_id)
    if not run["has_token_ids"].iloc[0]:
        raise GatehouseError(
            f"{run_id} has no token ids, which rollouts have: use --to events, which does without"
        )
    if layers["block"].duplicated().any() or layers["top_k"].nunique() > 1:
        raise GatehouseError(
            f"{run_id} has two MoE layers in one block, or layers that choose different numbers of "
            "experts, and rollouts one array: use --to events"
        )


def _routed(
    connection: duckdb.DuckDBPyConnection, run_id: str, layers: pd.DataFrame, events: int
) -> tuple[dict[str, NDArray], NDArray]:
    """Return each token's sample_id, position and token_id, and (tokens, blocks, k) experts."""
    count, top_k = len(layers), int(layers["top_k"].iloc[0])
    blocks = layers["block"].to_numpy(int)
    routed = np.zeros((events // count, blocks.max() + 1, top_k), np.int32)
    where: dict[str, list[NDArray]] = {name: [] for name in ("sample_id", "position", "token_id")}
    read = 0
    for batch in relation_of(connection, EVENTS, [run_id]).to_arrow_reader(ROWS):
        rows = np.arange(read, read + batch.num_rows)
        chosen = batch.column("experts").flatten().to_numpy().reshape(-1, top_k)
        routed[rows // count, blocks[rows % count]] = chosen
        for name, found in where.items():
            found.append(batch.column(name).to_numpy()[rows % count == 0])
        read += batch.num_rows
    return {name: np.concatenate(found) for name, found in where.items()}, routed


def _sequences(where: dict[str, NDArray], max_length: int) -> Iterator[tuple[int, int]]:
    """Yield the first token and the end of each sequence of two tokens or more."""
    windows = where["position"] // max_length
    is_first = (np.diff(where["sample_id"]) != 0) | (np.diff(windows) != 0)
    bounds = [0, *(np.flatnonzero(is_first) + 1).tolist(), len(windows)]
    for first, end in pairwise(bounds):
        if end - first > 1:
            yield first, end
