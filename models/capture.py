"""Capture what the routers decide while the model runs.

    with RoutingTap(model) as tap, captured(tap, batches) as events:
        ...

Read-only hooks watch every MoE layer, where its reader asks for them. Everything stays on the
device until one copy per field and batch. Of the logits, only entropy and confidence are kept.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from gatehouse.models.batches import (
    Memory,
    inputs_of,
    pad,
    strictest,
    uniform,
)
from gatehouse.models.events import Fields, LayerRouting, check_finite, to_host
from gatehouse.models.experts.expert_sizes import loaded_bytes
from gatehouse.models.experts.mending import check_mended
from gatehouse.models.experts.output_norms import OutputNorms, check_norms, check_output_norms
from gatehouse.models.families import SCALED, text_part
from gatehouse.models.readers import Routing, UnreadableRouter, Watch
from gatehouse.models.routers import RouterSite, find_sites, unreadable
from gatehouse.models.scoring import STATED, distribution, fitting_kinds, sums_to_one
from gatehouse.models.spool import Spool
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.events import Events
from gatehouse.warehouse.records import CAPTURED, LAYERS, TokenWindow


class RoutingTap:
    """Hooks on every router and its experts, from `__enter__` to `__exit__`.

    Forward passes other than `run`'s go through untouched and are not captured.

    Args:
        model: a transformers backbone (no LM head needed), in evaluation mode.
        output_norms: whether to take the norms of the experts' outputs too.

    Attributes:
        sites: the model's MoE layers.
        has_norms: whether norms are taken.
        batching: what may share a batch without changing the routing: padded, equal, or alone.
        memory: how much has fitted on the device at once.

    Raises:
        GatehouseError: the model has no MoE layers, needs `mending.mend`, or belongs to a family
            that shows no outputs of its experts.
    """

    def __init__(self, model: nn.Module, *, output_norms: bool = False) -> None:
        self.model = model
        self.sites = find_sites(model)
        check_mended(self.sites)
        self.has_norms = output_norms
        self._norms: dict[nn.Module, OutputNorms] = {}
        if output_norms:
            check_output_norms(self.sites)
            self._norms = {site.experts: OutputNorms(site) for site in self.sites}
        self._part = model.get_submodule(text_part(model))
        self.batching = strictest(self._part, {site.reader.batching for site in self.sites})
        self.memory = Memory(model)
        self._scoring: dict[int, tuple[str, bool]] = {}
        self._handles: list[RemovableHandle] = []
        self._watches = [site.reader.watch() for site in self.sites]
        self._seen: list[list[list[Any]]] | None = None

    def __enter__(self) -> Self:
        for moe_index, watches in enumerate(self._watches):
            for index, watch in enumerate(watches):
                self._handles.append(self._hook(watch, moe_index, index))
        # after the others, which are to see the experts' arguments as the block gives them
        for norms in self._norms.values():
            self._handles += norms.hooks()
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.inference_mode()
    def run(self, token_ids: torch.Tensor, mask: torch.Tensor) -> list[LayerRouting]:
        """Run one right-padded batch and return the routing of its real tokens, per MoE layer.

        An encoder-decoder model reads the same tokens in both stacks, the decoder after its
        start token, whose routing is left out.

        Args:
            token_ids: [B, S] integers.
            mask: [B, S] booleans, True for real tokens; rows of the result follow
                `mask.flatten()`.

        Raises:
            GatehouseError: the model does not embed a token id, a router did not fire once for
                each of its layers, a row count is wrong, or the scoring matches no known kind.
        """
        # before the forward pass: later, its rows would wait for the GPU, and the GPU for `_read`
        inputs = inputs_of(self.model, token_ids, mask)
        self._seen = [[[] for _ in watches] for watches in self._watches]
        for site in self.sites:
            site.reader.start()
        for norms in self._norms.values():
            norms.start()
        try:
            self._part(**inputs.arguments)
            rows = [inputs.rows[site.stack] for site in self.sites]
            layers = [
                self._read(site, inputs.positions[site.stack], real)
                for site, real in zip(self.sites, rows, strict=True)
            ]
            return to_host(layers, rows)
        finally:
            self._seen = None
            for norms in self._norms.values():
                norms.stop()

    def route(self, windows: list[TokenWindow]) -> list[LayerRouting]:
        """Run windows as one padded batch and return the routing of their tokens, per MoE layer.

        Raises:
            GatehouseError: as for `run`, or a score or an expert's output is not finite; the
                message names the sample.
        """
        found = self.run(*pad(windows))
        check_finite(found, self.sites, windows, self._embedding)
        if self.has_norms:
            check_norms(found, self.sites, windows)
        return found

    def layers(self) -> pa.Table:
        """Return the tapped MoE layers, schema LAYERS; scoring is known after the first batch."""
        rows = []
        for site in self.sites:
            scoring, sums = self._scoring.get(site.moe_index, (site.scoring, None))
            rows.append(
                {name: getattr(site, name, None) for name in LAYERS.names}
                | CAPTURED
                | {
                    "scoring": scoring,
                    "weights_sum_to_one": sums,
                    "expert_bytes": loaded_bytes(site),
                }
            )
        return pa.Table.from_pylist(rows, schema=LAYERS)

    @property
    def _embedding(self) -> torch.Tensor:
        return self.model.get_input_embeddings().weight  # type: ignore[operator]

    def _read(self, site: RouterSite, positions: int, real: torch.Tensor) -> Fields:
        """Return (ids, marked weights, entropy, confidence) of all rows, pads included.

        Where norms are taken, those of the experts' outputs follow.
        """
        routing = self._routing(site)
        rows = {len(field) for field in (routing.logits, routing.ids, routing.weights)}
        if rows != {positions}:
            raise GatehouseError(
                f"{site.router_path} routed {' or '.join(map(str, sorted(rows)))} rows for "
                f"{positions} token positions: Gatehouse does not read this family yet"
            )
        weights = routing.marked_weights()
        norms = [self._norms[site.experts].of(site.turn - site.passes)] if self.has_norms else []
        if site.moe_index not in self._scoring:
            first = routing.that_ran(real)
            if not (first[0].amax(dim=1).isfinite().all() and first[2].isfinite().all()):
                # nothing to learn from; `check_finite` names the sample, and the run ends
                return routing.ids, weights, *distribution(routing.logits, "softmax"), *norms
            self._scoring[site.moe_index] = _identify(site, *first)
        kind, _ = self._scoring[site.moe_index]
        return routing.ids, weights, *distribution(routing.logits, kind), *norms

    def _routing(self, site: RouterSite) -> Routing:
        assert self._seen is not None
        watches, seen = self._watches[site.moe_index], self._seen[site.moe_index]
        counts = [
            len(each) for each, watch in zip(seen, watches, strict=True) if not watch.optional
        ]
        if set(counts) != {site.passes}:
            raise GatehouseError(
                f"{site.router_path} and its experts were seen {' and '.join(map(str, counts))} "
                f"times in one batch, not {'once' if site.passes == 1 else site.passes}: "
                f"{why_silent(self.model)}"
            )
        try:
            # an optional module may have run more often
            found = (each[site.turn - site.passes] if each else None for each in seen)
            routing = site.reader.read(*found)
        except UnreadableRouter as problem:
            raise unreadable(site.router_path, site.router, problem) from problem
        shown = routing.logits.shape[1], routing.ids.shape[1]
        if shown != (site.num_experts, site.top_k):
            told = f"declares {site.num_experts} experts and top-{site.top_k}"
            wrong = UnreadableRouter(f"{told} but routed to {shown[1]} of {shown[0]}")
            raise unreadable(site.router_path, site.router, wrong)
        return routing

    def _hook(self, watch: Watch, moe_index: int, index: int) -> RemovableHandle:
        path, router = self.sites[moe_index].router_path, self.sites[moe_index].router

        def look(module: nn.Module, arguments: Any, named: Any, output: Any = None) -> None:
            if self._seen is None:
                return
            try:
                self._seen[moe_index][index].append(watch.take(arguments, named, output))
            except UnreadableRouter as problem:
                raise unreadable(path, router, problem) from problem

        if watch.before:
            return watch.module.register_forward_pre_hook(look, with_kwargs=True)
        return watch.module.register_forward_hook(look, with_kwargs=True)


def _identify(
    site: RouterSite, logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor
) -> tuple[str, bool]:
    """Return (scoring kind, whether weights sum to one) of a layer from its first rows.

    Raises:
        GatehouseError: no known kind fits, so entropy would have no stated meaning.
    """
    kinds = fitting_kinds(logits, ids, weights)
    trusted = site.scoring in STATED or site.family in SCALED
    always_one = site.top_k == 1 and not kinds and sums_to_one(weights)
    if site.scoring and (trusted or always_one or site.scoring in kinds):
        kind = site.scoring
    elif len(kinds) == 1:
        kind = kinds[0]
    else:
        problem = UnreadableRouter(
            f"gives weights that {' and '.join(kinds)} explain equally well"
            if kinds
            else "does not score experts by softmax, sigmoid or sqrt(softplus)"
        )
        raise unreadable(site.router_path, site.router, problem)
    return kind, sums_to_one(weights)


@contextmanager
def captured(
    tap: RoutingTap, batches: Iterable[list[TokenWindow]], folder: Path | None = None
) -> Iterator[Events]:
    """Run batches of token windows and give their events, readable inside the `with` block.

    A batch that does not fit into the memory of the GPU (on a CPU: of the machine) is halved, and
    the rest of the run keeps to that size. The events stay the same.

    Args:
        tap: already entered.
        batches: each runs as one padded batch, or as several where padding or other sequences
            would change the routing; padding never becomes an event.
        folder: takes what the memory should not hold, as `Spool` says.

    Raises:
        GatehouseError: as for `RoutingTap.route`, memory does not hold one sequence alone, or the
            folder's disk is full.
    """
    with Spool(tap.sites, folder, has_norms=tap.has_norms) as spool:
        for group in (part for windows in batches for part in uniform(windows, tap.batching)):
            for windows, found in tap.memory.run(group, tap.route):
                spool.add(windows, found)
        yield spool.events()


def capture(tap: RoutingTap, batches: Iterable[list[TokenWindow]]) -> pa.Table:
    """Return the events of `captured` as one table, schema EVENTS, with tokens x MoE layers rows.

    Raises:
        GatehouseError: as for `captured`.
    """
    with captured(tap, batches) as events:
        return events.table()


def why_silent(model: nn.Module) -> str:
    """Return the likeliest reason why hooks did not fire once per batch, and what to do."""
    quantization = getattr(getattr(model, "config", None), "quantization_config", None) or {}
    settings = quantization if isinstance(quantization, dict) else vars(quantization)
    if "mxfp4" in str(settings.get("quant_method")).lower():
        return (
            "MXFP4 kernels replace the whole block; load the checkpoint with "
            "Mxfp4Config(dequantize=True), as Gatehouse's own loading does"
        )
    if any(getattr(module, "_compiled_call_impl", None) for module in model.modules()):
        return "the model is compiled, which skips hooks; load it without torch.compile"
    if getattr(model, "use_kernels", False):
        return "hub kernels replace the block; load the model with use_kernels=False"
    return (
        "its block does not run its router and experts once each as modules; load the model "
        "without compilation and without replaced kernels"
    )
