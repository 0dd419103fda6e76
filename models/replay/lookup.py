"""Entries of tables from columns, as a warehouse gives them."""

import numpy as np
import torch

from gatehouse.models.replay.policies import MaskExperts
from gatehouse.models.replay.tables import Entries

Column = np.ndarray


def entries_of(
    row: Column,
    moe_index: Column,
    place: Column,
    expert: Column,
    weight: Column | None,
    shape: tuple[int, int, int],
) -> Entries:
    """Return entries [R, MoE layers, k] of the experts that N rows of columns name.

    Args:
        row: [N] integers below R.
        moe_index: [N] integers.
        place: [N] integers below k.
        expert: [N] integers.
        weight: [N] as blocks apply them; None for those that the router's rule gives.
        shape: R, MoE layers, k.
    """
    ids = torch.full(shape, -1, dtype=torch.int16)
    is_known = torch.zeros(shape[:2], dtype=torch.bool)
    rows, layers = (
        torch.from_numpy(row.astype(np.int64)),
        torch.from_numpy(moe_index.astype(np.int64)),
    )
    places = torch.from_numpy(place.astype(np.int64))
    ids[rows, layers, places] = torch.from_numpy(expert.astype(np.int16))
    is_known[rows, layers] = True
    weights = None
    if weight is not None:
        weights = torch.zeros(shape, dtype=torch.float32)
        weights[rows, layers, places] = torch.from_numpy(weight.astype(np.float32))
    return Entries(ids, is_known, weights)


def none_known(entries: Entries) -> torch.Tensor:
    """Return [R, MoE layers] booleans, all False, to say which of the entries are known."""
    return torch.zeros_like(entries.is_known)


def masked(experts: list[np.ndarray], num_experts: int) -> MaskExperts:
    """Return the policy that masks some experts.

    Args:
        experts: of each MoE layer, their ids.
        num_experts: of the largest layer.
    """
    is_masked = torch.zeros(len(experts), num_experts, dtype=torch.bool)
    for moe_index, ids in enumerate(experts):
        is_masked[moe_index, torch.from_numpy(ids.copy())] = True
    return MaskExperts(is_masked)


def pairs(first: np.ndarray, second: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the keys [R] of a table of pairs, as `tables` takes them."""
    return torch.from_numpy(first.copy()), torch.from_numpy(second.copy())
