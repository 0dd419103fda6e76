"""What to watch in each MoE block, and how to read a router's decisions from it.

A reader watches modules while the model runs (`watch`) and turns what it saw in one forward
pass into a `Routing` (`read`). The default contract of transformers 5 takes two watches:

    router(hidden [N, H])                -> (logits [N, E], weights [N, k], ids [N, k], ...)
    experts(hidden [N, H], ids, weights) -> hidden [N, H]

with N = batch x sequence. The full distribution is in the router's output, ids and weights in
the experts' inputs: neither alone is what the model did. Families that differ have their own
readers in `models.dialects`, and models that bring their own code have one in `models.remote`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Take = Callable[[tuple[Any, ...], dict[str, Any], Any], Any]


NUMBER_OF_EXPERTS = (
    "num_router_classes",
    "n_routed_experts",
    "num_experts",
    "num_local_experts",
)
TOP_K = ("top_k", "num_experts_per_tok", "moe_top_k", "top_k_experts")


class UnreadableRouter(Exception):
    """A router's output is not what its reader expects; the message follows the router's path."""


@dataclass(frozen=True)
class Watch:
    """One look at a module: `take(arguments, named, output)`, output None before it runs.

    An optional module may run any number of times in a forward pass; others run once, or as often
    as their block.
    """

    module: nn.Module
    take: Take
    before: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Routing:
    """What one router decided for N rows.

    logits [N, E]: one per class of the router, in the router's precision; ids [N, k] integers in
    [0, E), distinct in a row; weights [N, k] that the block hands to the experts; dropped [N, k]
    booleans, True where the block did not run the expert, None if it ran all of them.
    """

    logits: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    dropped: torch.Tensor | None = None

    def marked_weights(self) -> torch.Tensor:
        """Return weights [N, k] fp32 that are 0 for every dropped selection and for no other.

        An expert that ran with a weight of 0, because a softmax underflowed, gets the smallest
        normal number of fp32, about 1.2e-38.
        """
        weights = self.weights.float()
        least = torch.finfo(torch.float32).tiny
        weights = torch.where((weights >= 0) & (weights < least), least, weights)
        return weights if self.dropped is None else weights.masked_fill(self.dropped, 0)

    def that_ran(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return [logits, ids, weights] of those rows, given as integers, that had no drop."""
        if self.dropped is not None:
            ran = ~self.dropped.any(dim=1)
            rows = rows[ran.to(rows.device)[rows]]
        fields = (self.logits, self.ids, self.weights)
        return [field.index_select(0, rows.to(field.device)) for field in fields]


class Reader:
    """Reads the default contract.

    Attributes:
        batching: "padded" where other rows of a batch change nothing, "equal" where pads would
            (sequences of one length share a batch), "alone" where any other sequence would.
        fixed: why no other routing can take the place of the router's; empty where one can.
        unseen_outputs: why nobody sees the experts' outputs as their weights multiply them, as the
            verb after the family's name; empty where `weights_of` gives those weights.
    """

    batching = "padded"
    fixed = ""
    unseen_outputs = ""

    def __init__(self, block: nn.Module, router: nn.Module, experts: nn.Module) -> None:
        self.block = block
        self.router = router
        self.experts = experts

    def num_experts(self) -> int:
        """Return the number of the router's classes, read from the modules.

        Raises:
            UnreadableRouter: no module states it.
        """
        return integer(NUMBER_OF_EXPERTS, self.router, self.block, self.experts)

    def top_k(self, model: nn.Module) -> int:
        """Return the number of experts per token, read from the modules or their configs.

        Raises:
            UnreadableRouter: none of them states it.
        """
        owners = (self.router, self.block, self.experts, model)
        configs = [getattr(owner, "config", None) for owner in owners]
        return integer(TOP_K, *owners, *configs)

    def passes(self, model: nn.Module, index: int) -> int:
        """Return how often the block, which has this index, runs in a forward pass."""
        return 1

    def watch(self) -> list[Watch]:
        """Return what to watch, in the order in which `read` takes the findings."""
        return [
            Watch(self.router, lambda arguments, named, output: self.logits(output)),
            Watch(self.experts, lambda arguments, named, output: _choice(arguments, named), True),
        ]

    def weights_of(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
        """Return the weights [N, k], of the experts' arguments, by which outputs are multiplied.

        Raises:
            UnreadableRouter: the arguments are others than this reader knows.
        """
        return _choice(arguments, named)[1]

    def start(self) -> None:
        """Forget what an unfinished forward pass left behind; a new one is about to start."""

    def read(self, *seen: Any) -> Routing:
        """Return the routing from one forward pass's findings.

        Raises:
            UnreadableRouter: they do not have the shapes that this reader knows.
        """
        logits, (ids, weights) = seen
        return Routing(logits, ids, weights)

    def replace(
        self,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        ids: torch.Tensor,
        weights: torch.Tensor,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the experts' arguments with another routing of all rows in the place of theirs.

        Args:
            arguments: as the experts were called with; `named` the same.
            named: see there.
            ids: [N, k] as in `Routing`.
            weights: [N, k].
        """
        own_ids, own_weights = _choice(arguments, named)
        others = {
            id(own_ids): ids.to(own_ids.dtype),
            id(own_weights): weights.to(own_weights.dtype),
        }
        return (
            tuple(others.get(id(value), value) for value in arguments),
            {name: others.get(id(value), value) for name, value in named.items()},
        )

    def weigh(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
        """Call the router once more, unseen by hooks, and return the weights [N, any] it gives."""
        return self.router.forward(*arguments, **named)[1]

    def logits(self, output: Any) -> torch.Tensor:
        """Return the logits within the router's output."""
        first = output[0] if isinstance(output, tuple) and len(output) >= 3 else output
        if not isinstance(first, torch.Tensor) or not first.is_floating_point():
            raise UnreadableRouter("does not give (logits, weights, ids)")
        return first.reshape(-1, first.shape[-1])


def integer(names: tuple[str, ...], *owners: Any) -> int:
    """Return the first integer that an owner has under one of the names.

    Raises:
        UnreadableRouter: no owner has one.
    """
    for owner in owners:
        for name in names:
            if isinstance(value := getattr(owner, name, None), int):
                return value
    raise UnreadableRouter(f"does not state its {names[-1]}")


def _choice(arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (ids [N, k], weights [N, k]) among the experts' arguments (hidden, ids, weights)."""
    tensors = [value for value in (*arguments, *named.values()) if isinstance(value, torch.Tensor)]
    ids = [t for t in tensors if t.ndim == 2 and not t.is_floating_point()]
    shape = ids[0].shape if len(ids) == 1 else None
    weights = [t for t in tensors[1:] if t.is_floating_point() and t.shape == shape]
    if len(weights) != 1:
        raise UnreadableRouter("has experts that are not called with (hidden, ids, weights)")
    return ids[0], weights[0]
