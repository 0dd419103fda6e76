"""The shapes of events: windows to padded batches, captured arrays to Arrow tables."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from models.routers import RouterSite
from warehouse.records import EVENTS, TokenWindow


@dataclass(frozen=True)
class RoutingBatch:
    """The routing of T real tokens in L MoE layers, as NumPy arrays.

    experts [L, T, k] uint16 and weights [L, T, k] float16 in descending weight, ties in the
    order the model gave; entropy [L, T] float32 in nats and confidence [L, T] float32.
    """

    experts: np.ndarray
    weights: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray


def pad(windows: list[TokenWindow]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (token_ids [B, S] int64, mask [B, S] bool), padded on the right.

    Behind a causal mask the pads on the right change nothing before them.
    """
    longest = max(len(window.token_ids) for window in windows)
    token_ids = torch.zeros(len(windows), longest, dtype=torch.int64)
    mask = torch.zeros(len(windows), longest, dtype=torch.bool)
    for row, window in enumerate(windows):
        length = len(window.token_ids)
        token_ids[row, :length] = torch.tensor(window.token_ids)
        mask[row, :length] = True
    return token_ids, mask


def keys_of(windows: list[TokenWindow]) -> np.ndarray:
    """Return [3, T] int64: sample_id, position and token_id of the windows' tokens."""
    lengths = [len(window.token_ids) for window in windows]
    return np.stack(
        [
            np.repeat([window.sample_id for window in windows], lengths),
            np.concatenate([np.arange(w.start, w.start + len(w.token_ids)) for w in windows]),
            np.concatenate([np.array(window.token_ids) for window in windows]),
        ]
    ).astype(np.int64)


def layer_events(
    routing: RoutingBatch,
    site: RouterSite,
    sample_id: np.ndarray,
    position: np.ndarray,
    token_id: np.ndarray,
) -> pa.Table:
    """Return one MoE layer's events, schema EVENTS, of tokens given by three arrays [T]."""
    tokens = len(sample_id)
    experts, weights = routing.experts[site.moe_index], routing.weights[site.moe_index]
    offsets = pa.array(np.arange(0, tokens * site.top_k + 1, site.top_k, dtype=np.int32))
    return pa.table(
        {
            "sample_id": sample_id,
            "position": position.astype(np.uint32),
            "token_id": token_id.astype(np.int32),
            "layer": np.full(tokens, site.layer, np.int16),
            "experts": pa.ListArray.from_arrays(offsets, pa.array(experts.reshape(-1))),
            "weights": pa.ListArray.from_arrays(offsets, pa.array(weights.reshape(-1))),
            "top_expert": np.ascontiguousarray(experts[:, 0]),
            "entropy": routing.entropy[site.moe_index],
            "confidence": routing.confidence[site.moe_index],
        },
        schema=EVENTS,
    )
