"""Shape events: captured tensors become arrays, and arrays become Arrow tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
import torch

from gatehouse.models.routers import RouterSite
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import EVENTS, EVENTS_WITH_NORMS, OUTPUT_NORMS, TokenWindow

SMALLEST_WEIGHT = 2.0**-24
"""The smallest float16 above 0, 6e-8: what lands for an expert that ran with less."""

Fields = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class LayerRouting:
    """The routing of T real tokens in one MoE layer, as NumPy arrays.

    experts [T, k] uint16 and weights [T, k] float16 in descending weight, ties in the order the
    model gave; entropy [T] float32 in nats and confidence [T] float32. norms [T, k] float32 are
    those of the experts' outputs, NaN where the weight is 0; None where nobody asked for them.
    """

    experts: np.ndarray
    weights: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray
    norms: np.ndarray | None = None


def to_host(layers: list[Fields], rows: list[torch.Tensor]) -> list[LayerRouting]:
    """Return the routing in some rows of every layer, as arrays, in descending weight.

    Layers of one shape are copied together, with a few operations and one copy per field, however
    many there are.

    Args:
        layers: (ids [N, k], weights [N, k], entropy [N], confidence [N]) of each layer, and in all
            or in none norms [N, k]; a weight is 0 where the block dropped the selection, and only
            there.
        rows: [T] integers below N for each layer, the same for layers of one shape.
    """
    found = []
    for _, group in groupby(zip(layers, rows, strict=True), key=lambda pair: pair[0][0].shape):
        alike, (chosen, *_) = zip(*group, strict=True)
        found += _alike_to_host(alike, chosen)
    return found


def _alike_to_host(layers: Sequence[Fields], rows: torch.Tensor) -> list[LayerRouting]:
    device = layers[0][0].device
    ids, weights, entropy, confidence, *norms = (
        torch.stack([each.to(device) for each in field]).index_select(1, rows.to(device))
        for field in zip(*layers, strict=True)
    )
    # sorting costs more than all the rest, and half of the families give this order already
    if not (weights[..., :-1] >= weights[..., 1:]).all():
        order = weights.argsort(dim=2, descending=True, stable=True)
        ids, weights = ids.gather(2, order), weights.gather(2, order)
        norms = [each.gather(2, order) for each in norms]
    # in place of one that is skipped, a block may run another with the weight 0
    norms = [each.masked_fill(weights == 0, torch.nan) for each in norms]
    # int16 holds the bits of uint16, which not every device converts to
    arrays = (ids.to(torch.int16), _half(weights), entropy, confidence, *norms)
    experts, *others = (array.cpu().numpy() for array in arrays)
    return [LayerRouting(*each) for each in zip(experts.view(np.uint16), *others, strict=True)]


def _half(weights: torch.Tensor) -> torch.Tensor:
    """Return float16 weights; 0 means that the block dropped it, so no other weight becomes 0."""
    half = weights.to(torch.float16)
    # below 0 it stays below 0, and the shard is refused
    least = torch.where(weights < 0, -SMALLEST_WEIGHT, SMALLEST_WEIGHT).to(torch.float16)
    return torch.where((half == 0) & (weights != 0), least, half)


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


def check_finite(
    found: list[LayerRouting],
    sites: list[RouterSite],
    windows: list[TokenWindow],
    embedding: torch.Tensor,
) -> None:
    """Refuse routing by scores of NaN or infinity, which would land as if a router had chosen.

    Args:
        found: the routing of the windows' tokens, one per site, in the order the layers run.
        sites: the MoE layers.
        windows: one batch.
        embedding: [V, H] of the model; its rows are read only if a score is not finite.

    Raises:
        GatehouseError: names the first such layer, and the first such token there.
    """
    for routing, site in zip(found, sites, strict=True):
        finite = np.isfinite(routing.entropy) & np.isfinite(routing.weights).all(axis=1)
        if finite.all():
            continue
        sample_id, position, token_id = keys_of(windows)[:, (~finite).argmax()]
        raise GatehouseError(
            f"{site.router_path} (MoE layer {site.moe_index}) scored sample {sample_id}, position "
            f"{position} (token id {token_id}) with NaN or infinity"
            f"{_culprit(windows, sample_id, embedding)}: fetch the checkpoint again, or use a "
            "--dtype with more range (float32, bfloat16); what has landed stays"
        )


def _culprit(windows: list[TokenWindow], sample_id: int, embedding: torch.Tensor) -> str:
    """Return which token brought NaN in; attention passes it to the tokens before it too."""
    ids = sorted({t for each in windows if each.sample_id == sample_id for t in each.token_ids})
    rows = embedding[torch.tensor(ids, device=embedding.device)]
    for token_id, finite in zip(ids, rows.isfinite().all(dim=1).tolist(), strict=True):
        if not finite:
            return f", and so is the sample's token id {token_id} embedded"
    return ""


def layer_events(
    routing: LayerRouting,
    site: RouterSite,
    sample_id: np.ndarray,
    position: np.ndarray,
    token_id: np.ndarray,
) -> pa.Table:
    """Return one MoE layer's events for tokens given as three arrays [T].

    The schema is EVENTS, or EVENTS_WITH_NORMS where the routing has norms.
    """
    tokens = len(sample_id)
    offsets = pa.array(np.arange(0, tokens * site.top_k + 1, site.top_k, dtype=np.int32))
    columns = {}
    if routing.norms is not None:
        norms = routing.norms.reshape(-1)
        values = pa.array(norms, mask=np.isnan(norms))
        columns[OUTPUT_NORMS] = pa.ListArray.from_arrays(offsets, values)
    return pa.table(
        {
            "sample_id": sample_id,
            "position": position.astype(np.uint32),
            "token_id": token_id.astype(np.int32),
            "layer": np.full(tokens, site.layer, np.int16),
            "experts": pa.ListArray.from_arrays(offsets, pa.array(routing.experts.reshape(-1))),
            "weights": pa.ListArray.from_arrays(
                offsets, pa.array(routing.weights.reshape(-1).astype(np.float32))
            ),
            "top_expert": np.ascontiguousarray(routing.experts[:, 0]),
            "entropy": routing.entropy,
            "confidence": routing.confidence,
        }
        | columns,
        schema=EVENTS_WITH_NORMS if columns else EVENTS,
    )
