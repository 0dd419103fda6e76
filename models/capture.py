"""Capture what the routers decide while the model runs.

    with RoutingTap(model) as tap:
        events = capture(tap, batches)

Two read-only hooks a MoE layer: the router's output gives the full distribution, the experts'
inputs give ids and weights as used. Everything stays on the device until one copy per field
and batch; nothing is kept of the logits but entropy and confidence.
"""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from models.events import RoutingBatch, keys_of, layer_events, pad
from models.routers import (
    RouterSite,
    find_sites,
    infer_scoring,
    read_experts,
    read_router,
)
from warehouse.errors import GatehouseError
from warehouse.records import EVENTS, LAYERS, TokenWindow


class RoutingTap:
    """Hooks on every router and its experts, from `__enter__` to `__exit__`.

    Forward passes other than `run`'s go through untouched and are not captured.

    Args:
        model: a transformers backbone (no LM head needed), in evaluation mode.

    Raises:
        GatehouseError: the model has no MoE layers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.sites = find_sites(model)
        self.scoring: dict[str, str] = {}
        self._handles: list[RemovableHandle] = []
        self._logits: dict[int, list[torch.Tensor]] = {}
        self._chosen: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def __enter__(self) -> Self:
        for site in self.sites:
            self._handles.append(site.router.register_forward_hook(self._on_router(site)))
            self._handles.append(
                site.experts.register_forward_pre_hook(self._on_experts(site), with_kwargs=True)
            )
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.inference_mode()
    def run(self, token_ids: torch.Tensor, mask: torch.Tensor) -> RoutingBatch:
        """Run one right-padded batch and return the routing of its real tokens.

        Args:
            token_ids: [B, S] integers.
            mask: [B, S] booleans, True for real tokens; rows of the result follow
                `mask.flatten()`.

        Raises:
            GatehouseError: a router did not fire exactly once, a row count is wrong, or the
                scoring is of no known kind.
        """
        self._logits = {site.moe_index: [] for site in self.sites}
        self._chosen = {site.moe_index: [] for site in self.sites}
        device = next(self.model.parameters()).device
        mask = mask.to(device)
        self.model(input_ids=token_ids.to(device), attention_mask=mask.long(), use_cache=False)
        real = mask.flatten().nonzero().squeeze(1)
        fields = [self._read(site, mask.numel(), real) for site in self.sites]
        self._logits, self._chosen = {}, {}
        experts, weights, entropy, confidence = (
            torch.stack(field) for field in zip(*fields, strict=True)
        )
        return RoutingBatch(
            experts.to(torch.int32).cpu().numpy().astype(np.uint16),
            weights.half().cpu().numpy(),
            entropy.cpu().numpy(),
            confidence.cpu().numpy(),
        )

    def layers(self) -> pa.Table:
        """Return the tapped MoE layers, schema LAYERS; scoring is known after the first batch."""
        rows = [
            {
                "layer": site.layer,
                "moe_index": site.moe_index,
                "stack": site.stack,
                "router_path": site.router_path,
                "scoring": self.scoring.get(site.router_path),
                "num_experts": site.num_experts,
                "top_k": site.top_k,
            }
            for site in self.sites
        ]
        return pa.Table.from_pylist(rows, schema=LAYERS)

    def _read(
        self, site: RouterSite, rows: int, real: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (ids, weights, entropy, confidence) of the real rows, weight-descending."""
        logits, chosen = self._logits[site.moe_index], self._chosen[site.moe_index]
        if len(logits) != 1 or len(chosen) != 1:
            raise GatehouseError(
                f"{site.router_path} fired {len(logits)} times and its experts {len(chosen)} "
                "times in one batch: load the model without compilation or replaced kernels"
            )
        ids, weights = chosen[0]
        if not len(logits[0]) == len(ids) == rows:
            raise GatehouseError(
                f"{site.router_path} routed {len(logits[0])} rows and its experts got "
                f"{len(ids)} for {rows} token positions: Gatehouse does not read this family yet"
            )
        row_logits, row_ids, row_weights = logits[0][real], ids[real], weights[real]
        if site.router_path not in self.scoring:
            self.scoring[site.router_path] = infer_scoring(site, row_logits, row_ids, row_weights)
        entropy, confidence = distribution(row_logits)
        order = row_weights.argsort(dim=1, descending=True, stable=True)
        return row_ids.gather(1, order), row_weights.gather(1, order), entropy, confidence

    def _on_router(self, site: RouterSite) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if site.moe_index in self._logits:
                self._logits[site.moe_index].append(read_router(site, output))

        return hook

    def _on_experts(self, site: RouterSite) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, named: Any) -> None:
            if site.moe_index in self._chosen:
                self._chosen[site.moe_index].append(read_experts(site, arguments, named))

        return hook


def distribution(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (entropy in nats, largest probability), each [N] fp32, of softmax(logits [N, E]).

    Always fp32 and always `entr`, which is 0 at 0: in fp16, p log(p + 1e-10) is NaN wherever a
    probability underflows.
    """
    probabilities = torch.softmax(logits.float(), dim=-1)
    return torch.special.entr(probabilities).sum(dim=-1), probabilities.amax(dim=-1)


def capture(tap: RoutingTap, batches: Iterable[list[TokenWindow]]) -> pa.Table:
    """Run batches of token windows and return their events, ordered by (layer, sample, position).

    Args:
        tap: entered.
        batches: each runs as one padded batch; padding never becomes an event.

    Returns:
        A table of schema EVENTS with tokens x MoE layers rows.
    """
    keys, routing = [], []
    for windows in batches:
        token_ids, mask = pad(windows)
        routing.append(tap.run(token_ids, mask))
        keys.append(keys_of(windows))
    if not keys:
        return EVENTS.empty_table()
    sample_id, position, token_id = np.concatenate(keys, axis=1)
    order = np.lexsort((position, sample_id))
    joined = RoutingBatch(
        *(
            np.concatenate([getattr(batch, field) for batch in routing], axis=1)[:, order]
            for field in ("experts", "weights", "entropy", "confidence")
        )
    )
    keyed = sample_id[order], position[order], token_id[order]
    return pa.concat_tables(layer_events(joined, site, *keyed) for site in tap.sites)
