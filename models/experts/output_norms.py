"""The norms of what each chosen expert gives a token, before its weight is applied.

    probe = OutputNorms(site)
    handles = probe.hooks()      # a forward pass, then
    norms = probe.of(0)          # [N, k]

The experts get their weights as a tensor that looks on: where the model multiplies an output by its
weight, the output's norm is taken, whichever of transformers' implementations of experts runs. The
experts run once and compute what they would without it, bit for bit. In the first batch, the
products must add up to what the experts give: a factor that is applied anywhere else shows.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from gatehouse.models.events import LayerRouting, keys_of
from gatehouse.models.readers import UnreadableRouter
from gatehouse.models.routers import RouterSite, unreadable
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import TokenWindow

UNSEEN = -1.0
"""What stands in place of a norm where no output was multiplied by the weight."""

ROUNDING = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Largest share of the experts' sum that its products may leave unexplained."""

MOVED = {
    "__getitem__",
    "contiguous",
    "expand",
    "flatten",
    "index_select",
    "reshape",
    "squeeze",
    "unsqueeze",
    "view",
}
"""Functions after which each weight is still the weight of one selection, in another place."""

CONVERTED = {"bfloat16", "double", "float", "half", "to", "type"}
"""Functions that change the precision or the device of weights."""

MULTIPLIED = {"__mul__", "__rmul__", "mul", "multiply"}


def check_output_norms(sites: Iterable[RouterSite]) -> None:
    """Refuse a model whose experts' outputs no weight multiplies where it can be seen.

    Raises:
        GatehouseError: says which family, why, and what to do.
    """
    for site in sites:
        if reason := site.reader.unseen_outputs:
            raise _unseen(f"{site.family or type(site.router).__name__} {reason}")


def check_norms(
    found: list[LayerRouting], sites: list[RouterSite], windows: list[TokenWindow]
) -> None:
    """Refuse selections whose output was not seen, and norms that are not finite.

    Args:
        found: the routing of the windows' tokens with norms, one per site, and finite.
        sites: the MoE layers.
        windows: one batch.

    Raises:
        GatehouseError: names the first such layer, and of NaN and infinity the first token there.
    """
    for routing, site in zip(found, sites, strict=True):
        assert routing.norms is not None
        ran = routing.weights != 0
        if (ran & (routing.norms < 0)).any():
            raise _unseen(f"{_experts_of(site)} do not multiply every output by its weight")
        overflowed = (ran & ~np.isfinite(routing.norms)).any(axis=1)
        if overflowed.any():
            sample_id, position, token_id = keys_of(windows)[:, overflowed.argmax()]
            raise GatehouseError(
                f"{_experts_of(site)} gave sample {sample_id}, position {position} (token id "
                f"{token_id}) an output of NaN or infinity: use a --dtype with more range "
                "(float32, bfloat16), or leave --output-norms out; what has landed stays"
            )


def _experts_of(site: RouterSite) -> str:
    return f"the experts of {site.router_path} ({type(site.experts).__name__})"


def _unseen(why: str) -> GatehouseError:
    return GatehouseError(
        f"--output-norms: {why}: leave it out, everything else is captured without it"
    )


class OutputNorms:
    """Hooks on the experts of one block; `start` them, run the block, and ask `of` each turn.

    Args:
        site: the MoE layer; of a block that runs more than once, its first.
    """

    def __init__(self, site: RouterSite) -> None:
        self._site = site
        self._is_proven = False
        self._is_running = False
        self._seen: list[_Looking] = []

    def hooks(self) -> list[RemovableHandle]:
        """Register the hooks, which do nothing until `start`."""
        experts: nn.Module = self._site.experts
        return [
            experts.register_forward_pre_hook(self._before, with_kwargs=True),
            experts.register_forward_hook(self._after),
        ]

    def start(self) -> None:
        """Forget an earlier forward pass, and watch from now on."""
        self._seen, self._is_running = [], True

    def stop(self) -> None:
        """Forget what was seen, and let forward passes go untouched."""
        self._seen, self._is_running = [], False

    def of(self, turn: int) -> torch.Tensor:
        """Return [N, k] fp32: the norms in the block's run `turn`, UNSEEN where nothing ran."""
        return self._seen[turn].norms

    def _before(
        self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not self._is_running:
            return None
        try:
            weights = self._site.reader.weights_of(arguments, named)
        except UnreadableRouter as problem:
            raise unreadable(self._site.router_path, self._site.router, problem) from problem
        looking = _Looking(weights, is_summing=not self._is_proven)
        self._seen.append(looking)
        watched = looking.weights
        swapped = tuple(watched if each is weights else each for each in arguments)
        return swapped, {n: watched if each is weights else each for n, each in named.items()}

    def _after(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if not self._is_running:
            return
        looking = self._seen[-1]
        looking.close()
        if looking.rows > looking.norms.numel() or not looking.rows:
            raise _unseen(
                f"{_experts_of(self._site)} do not multiply each output by its weight once"
            )
        if not self._is_proven:
            left = looking.unexplained(output)
            if left is None:
                return
            if not left <= ROUNDING.get(output.dtype, 4e-2):
                raise _unseen(
                    f"{_experts_of(self._site)} give something else than the sum of their outputs "
                    "times the weights"
                )
            self._is_proven = True


class _Looking:
    """What the weights of one run of the experts are multiplied with."""

    def __init__(self, weights: torch.Tensor, is_summing: bool) -> None:
        self.norms = torch.full(weights.shape, UNSEEN, device=weights.device)
        self.rows = 0
        self._top_k = weights.shape[-1]
        self._is_summing = is_summing
        self._sum: torch.Tensor | None = None
        slots = torch.arange(weights.numel(), device=weights.device).view(weights.shape)
        self.weights = _watched(weights, slots, self)

    def close(self) -> None:
        """Let go of the weights, which know this object."""
        del self.weights

    def see(self, outputs: torch.Tensor, slots: torch.Tensor, products: torch.Tensor) -> None:
        """Take in outputs [S, H] that were multiplied by the weights of the slots [S]."""
        norms = torch.linalg.vector_norm(outputs, dim=-1, dtype=torch.float32)
        slots = slots.to(norms.device)
        self.norms = self.norms.to(norms.device)
        self.norms.view(-1)[slots] = norms
        self.rows += len(slots)
        if self._is_summing:
            if self._sum is None:
                shape = len(self.norms), outputs.shape[-1]
                self._sum = torch.zeros(shape, device=norms.device)
            self._sum.index_add_(0, slots // self._top_k, products.float())

    def unexplained(self, output: Any) -> float | None:
        """Return which share of the experts' output the products leave; None if none is finite."""
        if not isinstance(output, torch.Tensor) or self._sum is None:
            return float("inf")
        found = output.reshape(-1, output.shape[-1]).float()
        if found.shape != self._sum.shape:
            return float("inf")
        rows = (found + self._sum).sum(dim=1).isfinite()
        size = found[rows].norm()
        left = (found[rows] - self._sum[rows]).norm() / size.clamp(min=1e-30)
        return float(left) if size > 0 else None


class _WatchedWeights(torch.Tensor):
    """Routing weights that tell `looking` what they are multiplied with.

    `slots` has their shape: the number of the selection that each is the weight of.
    """

    slots: torch.Tensor
    looking: _Looking

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Iterable[type],
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """Run the function on plain tensors, and see where the weights go."""
        named = named or {}
        with torch._C.DisableTorchFunctionSubclass():
            found = function(*arguments, **named)
            if not isinstance(found, torch.Tensor):
                return found
            name, first = function.__name__, arguments[0]
            if name in MULTIPLIED and len(arguments) == 2:
                _look(*arguments, found)
            elif isinstance(first, cls) and name in MOVED:
                return _watched(
                    found, function(first.slots, *arguments[1:], **named), first.looking
                )
            elif isinstance(first, cls) and name in CONVERTED and found.is_floating_point():
                return _watched(found, first.slots.to(found.device), first.looking)
            return found


def _watched(weights: torch.Tensor, slots: torch.Tensor, looking: _Looking) -> _WatchedWeights:
    watched = weights.as_subclass(_WatchedWeights)
    watched.slots, watched.looking = slots, looking
    return watched


def _look(left: Any, right: Any, products: torch.Tensor) -> None:
    """Show outputs [S, H] times weights [S, 1], in either order, to the weights' owner."""
    weights, outputs = (left, right) if isinstance(left, _WatchedWeights) else (right, left)
    if (
        isinstance(outputs, torch.Tensor)
        and not isinstance(outputs, _WatchedWeights)
        and outputs.ndim == weights.ndim == 2
        and weights.shape == (len(outputs), 1)
    ):
        weights.looking.see(outputs, weights.slots.flatten(), products)
