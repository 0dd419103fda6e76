"""The shapes of events: captured tensors to arrays, arrays to Arrow tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from models.routers import RouterSite
from warehouse.records import EVENTS, TokenWindow

Fields = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class LayerRouting:
    """The routing of T real tokens in one MoE layer, as NumPy arrays.

    experts [T, k] uint16 and weights [T, k] float16 in descending weight, ties in the order the
    model gave; entropy [T] float32 in nats and confidence [T] float32.
    """

    experts: np.ndarray
    weights: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray

    @classmethod
    def concatenate(cls, parts: Sequence["LayerRouting"]) -> "LayerRouting":
        """Return the tokens of several batches, one after the other."""
        names = ("experts", "weights", "entropy", "confidence")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, order: np.ndarray) -> "LayerRouting":
        """Return the tokens in another order."""
        return LayerRouting(
            self.experts[order], self.weights[order], self.entropy[order], self.confidence[order]
        )


def to_host(layers: list[Fields]) -> list[LayerRouting]:
    """Return (ids, weights, entropy, confidence) of every layer as arrays, one copy per field."""
    experts, weights, entropy, confidence = (
        _copy([layer[field] for layer in layers], dtype)
        for field, dtype in enumerate((torch.int32, torch.float16, torch.float32, torch.float32))
    )
    return [
        LayerRouting(chosen.astype(np.uint16), *others)
        for chosen, *others in zip(experts, weights, entropy, confidence, strict=True)
    ]


def _copy(tensors: list[torch.Tensor], dtype: torch.dtype) -> list[np.ndarray]:
    """Return tensors of any shapes as arrays, gathered on one device and copied together."""
    device = tensors[0].device
    flat = torch.cat([tensor.to(device, dtype).flatten() for tensor in tensors]).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    parts = np.split(flat, ends[:-1])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


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
    routing: LayerRouting,
    site: RouterSite,
    sample_id: np.ndarray,
    position: np.ndarray,
    token_id: np.ndarray,
) -> pa.Table:
    """Return one MoE layer's events, schema EVENTS, of tokens given by three arrays [T]."""
    tokens = len(sample_id)
    offsets = pa.array(np.arange(0, tokens * site.top_k + 1, site.top_k, dtype=np.int32))
    return pa.table(
        {
            "sample_id": sample_id,
            "position": position.astype(np.uint32),
            "token_id": token_id.astype(np.int32),
            "layer": np.full(tokens, site.layer, np.int16),
            "experts": pa.ListArray.from_arrays(offsets, pa.array(routing.experts.reshape(-1))),
            "weights": pa.ListArray.from_arrays(offsets, pa.array(routing.weights.reshape(-1))),
            "top_expert": np.ascontiguousarray(routing.experts[:, 0]),
            "entropy": routing.entropy,
            "confidence": routing.confidence,
        },
        schema=EVENTS,
    )
