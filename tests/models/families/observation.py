"""One capture of a tiny model, and what independent hooks saw of the same forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from gatehouse.models.capture import RoutingTap, capture
from gatehouse.models.routers import RouterSite
from gatehouse.warehouse.records import TokenWindow

LENGTH = 24

PROBABILITIES = {"gemma4", "diffusion_gemma"}
"""Families whose router gives its softmax in place of logits."""

CACHES = {"cache", "past_key_values"}
"""What a block may be given to remember earlier calls by, which a second call must not see."""

WITHOUT_IDS = {"llama4", "jetmoe", "doge"}
"""Families whose experts are never called with ids: only the causal check reaches them."""


@dataclass(frozen=True)
class Observed:
    """One capture of a model, and what independent hooks saw of the same forward pass.

    logits: [rows, E] per site; calls: (arguments, named, output) of each site's block; choices:
    (ids, weights) that each experts module was called with, where it was.
    """

    family: str
    model: nn.Module
    windows: list[TokenWindow]
    tap: RoutingTap
    events: pa.Table
    logits: list[torch.Tensor]
    calls: list[tuple[tuple[Any, ...], dict[str, Any], Any]]
    choices: list[tuple[torch.Tensor, torch.Tensor] | None]

    @property
    def sites(self) -> list[RouterSite]:
        return self.tap.sites

    def of(self, site: RouterSite, column: str) -> np.ndarray:
        chosen = self.events.filter(pa.compute.field("layer") == site.layer)[column]
        return np.array(chosen.to_pylist())

    def rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the rows that are tokens: a decoder's start token is not one."""
        by_sample = tensor.reshape(len(self.windows), -1, tensor.shape[-1])
        return by_sample[:, -LENGTH:].flatten(0, 1)


def observe(family: str, build: Callable[[], nn.Module]) -> Observed:
    """Build a model of the family, capture two windows (one where sequences run alone)."""
    model = build()
    tap = RoutingTap(model)
    windows = random_windows([LENGTH] if tap.batching == "alone" else [LENGTH, LENGTH])
    logits: list[torch.Tensor] = []
    calls: list[Any] = []
    choices: list[Any] = [None] * len(tap.sites)
    with tap, watching(family, model, tap.sites, logits, calls, choices):
        events = capture(tap, [windows])
    return Observed(family, model, windows, tap, events, logits, calls, choices)


def random_windows(lengths: list[int], seed: int = 0) -> list[TokenWindow]:
    generator = np.random.default_rng(seed)
    return [
        TokenWindow(sample, 0, generator.integers(3, 120, length).tolist())
        for sample, length in enumerate(lengths)
    ]


@contextmanager
def watching(
    family: str, model: nn.Module, sites: list[RouterSite], logits: Any, calls: Any, choices: Any
) -> Iterator[None]:
    """Record every router's logits, every block's call, and what the experts are called with."""
    handles = []
    originals = []
    # a block that runs more than once is a site each time
    for site in (each for each in sites if each.turn == 0):
        handles.append(
            site.router.register_forward_hook(
                lambda module, inputs, output: logits.append(own_logits(family, output).clone())
            )
        )
        block = model.get_submodule(block_path(site))
        handles.append(
            block.register_forward_hook(
                lambda module, arguments, named, output: calls.append(
                    (arguments, named | dict.fromkeys(CACHES & named.keys()), output)
                ),
                with_kwargs=True,
            )
        )
        if family not in WITHOUT_IDS:
            originals.append((site.experts, site.experts.forward))
            turns = [each.moe_index for each in sites if each.experts is site.experts]
            site.experts.forward = spied(site.experts.forward, turns, choices)
    yield
    for handle in handles:
        handle.remove()
    for experts, forward in originals:
        experts.forward = forward


def spied(forward: Callable[..., Any], turns: list[int], choices: list[Any]) -> Callable[..., Any]:
    def spy(hidden: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> Any:
        choices[turns.pop(0)] = ids.clone(), weights.clone()
        return forward(hidden, ids, weights)

    return spy


def block_path(site: RouterSite) -> str:
    """Return the module to run again for the causal check: JetMoE's attention has no forward."""
    return site.router_path.rsplit(".", 1)[0].removesuffix(".experts")


def own_logits(family: str, output: Any) -> torch.Tensor:
    """Return [rows, E] logits within a router's output, read without `models`."""
    if family == "doge":
        rows = output.numel() // output.shape[-1]
        x, y = output.reshape(2, rows, -1)
        pairs = [[a + b for a in left for b in right] for left, right in zip(x, y)]
        return torch.stack([torch.stack(row) for row in pairs])
    place = {"switch_transformers": 2, "nllb_moe": 2, "llama4": 1, "jetmoe": 4}.get(family, 0)
    found = output if isinstance(output, torch.Tensor) else output[place]
    return found.log() if family in PROBABILITIES else found
