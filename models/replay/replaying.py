"""Overrule routers while the model runs.

    with Replay(model, policy) as replay:
        replayed = replay.run(windows)

A hook on each router keeps what it decided, and a hook on its experts hands them what the policy
says instead. Padding is never replaced.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from gatehouse.models.batches import Inputs, inputs_of, pad, strictest
from gatehouse.models.capture import why_silent
from gatehouse.models.events import keys_of
from gatehouse.models.experts.mending import check_mended
from gatehouse.models.families import text_part
from gatehouse.models.readers import UnreadableRouter
from gatehouse.models.replay.decisions import Decision, Policy, Replacement, Tokens
from gatehouse.models.replay.selection import RouterRule
from gatehouse.models.routers import RouterSite, find_sites, unreadable
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow


@dataclass(frozen=True, eq=False)
class LayerReplay:
    """What was replaced in one MoE layer, for T tokens.

    own_ids [T, k]: what the router chose; ids [T, k] and weights [T, k]: what ran; is_replaced [T].
    """

    own_ids: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    is_replaced: torch.Tensor


@dataclass(frozen=True, eq=False)
class Replayed:
    """One batch's forward pass.

    hidden [T, H]: the backbone's last hidden states of the tokens, in the order of the windows;
    layers: one for each MoE layer; output_class: of what the backbone returned.
    """

    hidden: torch.Tensor
    layers: list[LayerReplay]
    output_class: type


class Replay:
    """Hooks on every router and its experts, from `__enter__` to `__exit__`.

    Forward passes other than `run`'s go through untouched.

    Args:
        model: a transformers backbone, in evaluation mode.
        policy: says what replaces the routing of which tokens.

    Attributes:
        sites: the model's MoE layers.
        batching: what may share a batch without changing the routing: padded, equal, or alone.

    Raises:
        GatehouseError: the model has no MoE layers, belongs to a family whose routing cannot be
            replaced, needs `mending.mend`, or the policy does not fit it.
    """

    def __init__(self, model: nn.Module, policy: Policy) -> None:
        self.model = model
        self.policy = policy
        self.sites = find_sites(model)
        _refuse_fixed(self.sites)
        check_mended(self.sites)
        policy.check(self.sites)
        self._part = model.get_submodule(text_part(model))
        self.batching = strictest(self._part, {site.reader.batching for site in self.sites})
        self._handles: list[RemovableHandle] = []
        self._pass: _Pass | None = None

    def __enter__(self) -> Self:
        for site in (each for each in self.sites if each.turn == 0):
            self._hook(site)
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.inference_mode()
    def run(self, windows: list[TokenWindow]) -> Replayed:
        """Run windows as one padded batch, replacing what the policy says.

        Args:
            windows: of which `batching` says what may run together.

        Raises:
            GatehouseError: the model does not embed a token id, a router or its experts did not run
                as their reader expects, or the policy needs a rule that is not known.
        """
        inputs = inputs_of(self.model, *pad(windows))
        self._pass = _Pass(self.sites, inputs, _tokens(windows), self.policy)
        try:
            output = self._part(**inputs.arguments)
            layers = self._pass.layers
            if len(layers) != len(self.sites):
                raise GatehouseError(
                    f"{len(layers)} of {len(self.sites)} MoE layers were seen: "
                    f"{why_silent(self.model)}"
                )
        finally:
            self._pass = None
        hidden = output.last_hidden_state
        rows = inputs.rows["decoder"].to(hidden.device)
        ordered = [layers[site.moe_index] for site in self.sites]
        return Replayed(hidden.reshape(-1, hidden.shape[-1])[rows], ordered, type(output))

    def _hook(self, site: RouterSite) -> None:
        def keep(router: nn.Module, arguments: Any, named: Any, output: Any) -> None:
            if self._pass:
                self._pass.calls[site.router_path] = arguments, named, output

        def overrule(experts: nn.Module, arguments: Any, named: Any) -> Any:
            if not self._pass:
                return None
            try:
                ids, weights = self._pass.route(site, arguments, named)
                return site.reader.replace(arguments, named, ids, weights)
            except UnreadableRouter as problem:
                raise unreadable(site.router_path, site.router, problem) from problem

        self._handles += [
            site.router.register_forward_hook(keep, with_kwargs=True),
            site.experts.register_forward_pre_hook(overrule, with_kwargs=True),
        ]


class _Pass:
    """One forward pass: the routers' calls that wait for their experts, and what has run."""

    def __init__(
        self, sites: list[RouterSite], inputs: Inputs, tokens: Tokens, policy: Policy
    ) -> None:
        self.calls: dict[str, tuple[Any, Any, Any]] = {}
        self.layers: dict[int, LayerReplay] = {}
        self._inputs = inputs
        self._tokens = tokens
        self._policy = policy
        # a block that runs more than once is a layer each time
        self._turns: dict[str, list[int]] = {}
        for site in sites:
            site.reader.start()
            self._turns.setdefault(site.router_path, []).append(site.moe_index)

    def route(
        self, site: RouterSite, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (ids, weights), each [N, k], that the experts are to run.

        Args:
            site: of the router.
            arguments: that the experts were called with; `named` the same.
            named: see there.

        Raises:
            UnreadableRouter: the router did not run before, or its rows are not the batch's.
            GatehouseError: as for `Policy.replace`.
        """
        if site.router_path not in self.calls or not self._turns[site.router_path]:
            raise UnreadableRouter("has experts that do not run once after their router")
        call, called, output = self.calls.pop(site.router_path)
        at_router, at_experts = site.reader.watch()
        logits = at_router.take(call, called, output)
        moe_index = self._turns[site.router_path].pop(0)
        routing = site.reader.read(logits, at_experts.take(arguments, named, None))
        if {len(routing.ids), len(logits)} != {self._inputs.positions[site.stack]}:
            raise UnreadableRouter("routes other rows than the batch has")
        rows = self._inputs.rows[site.stack].to(routing.ids.device)
        ids = routing.ids.to(torch.int64)
        rule = RouterRule(site, (call, called), rows, ids, routing.weights)
        decision = Decision(
            moe_index,
            _on(self._tokens, rows.device),
            routing.logits[rows.to(logits.device)],
            ids[rows],
            routing.weights[rows],
            rule,
        )
        layer = _applied(decision, self._policy.replace(decision))
        self.layers[moe_index] = layer
        return _scattered(ids, rows, layer.ids), _scattered(routing.weights, rows, layer.weights)


def _applied(decision: Decision, answer: Replacement) -> LayerReplay:
    """Return what runs: the router's own rows where the answer replaces nothing."""
    replaced = answer.is_replaced.unsqueeze(1)
    return LayerReplay(
        decision.ids,
        torch.where(replaced, answer.ids.to(decision.ids.dtype), decision.ids),
        torch.where(replaced, answer.weights.to(decision.weights.dtype), decision.weights),
        answer.is_replaced,
    )


def _scattered(every: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return a copy of [N, k] that has the values [T, k] in the rows [T]."""
    copied = every.clone()
    copied[rows] = values
    return copied


def _tokens(windows: list[TokenWindow]) -> Tokens:
    sample_ids, positions, token_ids = torch.from_numpy(keys_of(windows))
    lengths = np.array([len(window.token_ids) for window in windows])
    previous_ids = token_ids.roll(1)
    previous_ids[torch.from_numpy(lengths.cumsum() - lengths)] = -1
    return Tokens(sample_ids, positions, token_ids, previous_ids)


def _on(tokens: Tokens, device: torch.device) -> Tokens:
    return Tokens(*(field.to(device) for field in vars(tokens).values()))


def _refuse_fixed(sites: Iterable[RouterSite]) -> None:
    for site in sites:
        if site.reader.fixed:
            name = site.family or type(site.reader.block).__name__
            raise GatehouseError(
                f"{name} cannot be replayed: {site.reader.fixed}; name a model of a family whose "
                "routing can be replaced (docs/families.md)"
            )
