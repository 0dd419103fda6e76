"""Where a model's routers are and how each one speaks.

The contract that transformers 5 keeps in nearly every MoE family: a block holds a router and
its experts side by side;

    router(hidden [N, H])                     -> (logits [N, E], weights [N, k], ids [N, k], …)
    experts(hidden [N, H], ids, weights)      -> hidden [N, H]

with N = batch x sequence. The full distribution is read from the router's output, ids and
weights from the experts' inputs: neither alone is what the model did. Sites are found in the
modules, never in config fields.
"""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from warehouse.errors import GatehouseError

ROUTER_NAMES = ("gate", "router")
EXPERTS_NAME = "experts"
SCORING_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Largest relative rounding error of a top-k weight computed in that precision."""

SCORING_FUNCTIONS = {"softmax": lambda logits: torch.softmax(logits, dim=-1)}
"""Scoring kinds that are told apart on the first batch: logits [N, E] fp32 -> scores [N, E]."""


@dataclass(frozen=True)
class RouterSite:
    """One MoE layer: `layer` is the block's index in the model, `moe_index` among MoE layers."""

    layer: int
    moe_index: int
    stack: str
    router_path: str
    num_experts: int
    top_k: int
    router: nn.Module
    experts: nn.Module


def find_sites(model: nn.Module) -> list[RouterSite]:
    """Return the model's MoE layers in the order they run.

    Raises:
        GatehouseError: the model has none, or one whose number of experts cannot be read.
    """
    sites: list[RouterSite] = []
    for path, block in model.named_modules():
        router_name = next(
            (name for name in ROUTER_NAMES if isinstance(getattr(block, name, None), nn.Module)),
            None,
        )
        experts = getattr(block, EXPERTS_NAME, None)
        if router_name is None or not isinstance(experts, nn.Module):
            continue
        router_path = f"{path}.{router_name}"
        router = block.get_submodule(router_name)
        sites.append(
            RouterSite(
                layer=_block_index(router_path),
                moe_index=len(sites),
                stack="decoder",
                router_path=router_path,
                num_experts=_integer(router, router_path, "num_experts", "n_routed_experts"),
                top_k=_integer(router, router_path, "top_k", "num_experts_per_tok"),
                router=router,
                experts=experts,
            )
        )
    if not sites:
        raise GatehouseError(
            f"{type(model).__name__} has no MoE layers: Gatehouse reads the routers of "
            "Mixture-of-Experts models (a router beside its experts, as in Mixtral)"
        )
    return sites


def read_router(site: RouterSite, output: Any) -> torch.Tensor:
    """Return the router's logits [N, E] as fp32.

    Raises:
        GatehouseError: the output is not (logits, weights, ids).
    """
    logits = output[0] if isinstance(output, tuple) and len(output) >= 3 else None
    if (
        not isinstance(logits, torch.Tensor)
        or logits.ndim != 2
        or logits.shape[1] != site.num_experts
    ):
        raise GatehouseError(
            f"{site.router_path} ({type(site.router).__name__}) does not give (logits, weights, "
            "ids): Gatehouse does not read this family yet"
        )
    return logits.float()


def read_experts(
    site: RouterSite, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (ids [N, k], weights [N, k]) exactly as the experts receive them.

    Raises:
        GatehouseError: the experts are not called with (hidden, ids, weights).
    """
    tensors = [value for value in (*arguments, *named.values()) if isinstance(value, torch.Tensor)]
    ids = [t for t in tensors if t.ndim == 2 and not t.is_floating_point()]
    shape = ids[0].shape if len(ids) == 1 else None
    weights = [t for t in tensors[1:] if t.is_floating_point() and t.shape == shape]
    if len(weights) != 1 or shape is None or shape[1] != site.top_k:
        raise GatehouseError(
            f"the experts beside {site.router_path} are not called with (hidden, ids, weights): "
            "Gatehouse does not read this family yet"
        )
    return ids[0], weights[0]


def infer_scoring(
    site: RouterSite, logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor
) -> str:
    """Return the scoring kind f for which weights are proportional to f(logits)[ids], row by row.

    Args:
        site: names the router in the error.
        logits: [N, E] fp32.
        ids: [N, k].
        weights: [N, k] as the experts receive them; their dtype sets the tolerance.

    Raises:
        GatehouseError: no known kind fits, so entropy would have no stated meaning.
    """
    applied = weights.float() / weights.float().sum(dim=1, keepdim=True)
    for kind, score in SCORING_FUNCTIONS.items():
        chosen = score(logits).gather(1, ids.long())
        expected = chosen / chosen.sum(dim=1, keepdim=True)
        error = (applied - expected).abs().max().item()
        if error <= SCORING_TOLERANCE.get(weights.dtype, 2e-2):
            return kind
    raise GatehouseError(
        f"{site.router_path} ({type(site.router).__name__}) does not score experts by "
        f"{' or '.join(SCORING_FUNCTIONS)}: Gatehouse does not read this family yet"
    )


def _block_index(path: str) -> int:
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.)", path)
    if not numbers:
        raise GatehouseError(f"cannot tell which layer {path} belongs to")
    return int(numbers[0])


def _integer(router: nn.Module, path: str, *names: str) -> int:
    for name in names:
        if isinstance(value := getattr(router, name, None), int):
            return value
    raise GatehouseError(
        f"{path} ({type(router).__name__}) does not tell its {names[0]}: "
        "Gatehouse does not read this family yet"
    )
