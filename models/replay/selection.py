"""A router's own rule for a choice that it did not make.

Routers score all experts, choose by one call of `torch.topk`, and weight what they chose. Here the
router runs once more, and that call gets another answer: experts that are given, or the best of
those that are left. So the weights come from the router's own code: its scoring, normalisation,
scale and selection bias are read nowhere. A router whose own choice does not come back with its
own weights is refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gatehouse.models.routers import RouterSite
from gatehouse.warehouse.errors import GatehouseError

Answer = Callable[[dict[str, Any]], torch.Tensor]
"""What a call of `topk`, given by its arguments, is to return as indices, in rows of any shape."""

PARAMETERS = ("input", "k", "dim", "largest", "sorted")


class RouterRule:
    """Runs a router again on the batch that it has just routed.

    Args:
        site: the router's layer.
        call: (arguments, named) of the router's forward pass.
        rows: [T] integers, which of its N rows are tokens.
        ids: [N, k] that the router chose.
        weights: [N, k] that it gave them.
    """

    def __init__(
        self,
        site: RouterSite,
        call: tuple[tuple[Any, ...], dict[str, Any]],
        rows: torch.Tensor,
        ids: torch.Tensor,
        weights: torch.Tensor,
    ) -> None:
        self._site = site
        self._call = call
        self._rows = rows
        self._ids = ids
        self._weights = weights
        self._is_known = False

    def weights_of(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the weights [T, n] that the router gives these experts, had it chosen them.

        Experts that the model shares between all tokens keep their weights, also where the router
        weights them together with those it chooses.

        Args:
            ids: [T, n] integers, distinct in a row, n at most top-k.

        Raises:
            GatehouseError: the router does not choose by top-k.
        """
        self._prove()
        every = self._ids[:, : ids.shape[1]].clone()
        every[self._rows] = ids
        return self._run(lambda asked: every)[self._rows]

    def best_without(self, is_masked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (ids, weights), each [T, k], of the best experts that are not masked.

        Args:
            is_masked: [E] booleans; at least k are False.

        Raises:
            GatehouseError: the router does not choose by top-k.
        """
        self._prove()
        chosen: list[torch.Tensor] = []

        def best(asked: dict[str, Any]) -> torch.Tensor:
            scores = asked["input"]
            # a group limit leaves minus infinity, to which a masked expert must not be equal
            left = scores.clamp(min=torch.finfo(scores.dtype).min)
            left = left.masked_fill(is_masked.to(scores.device), -torch.inf)
            chosen.append(torch.topk(**asked | {"input": left}).indices)
            return chosen[-1]

        weights = self._run(best)
        ids = chosen[-1].reshape(len(weights), -1)
        return ids[self._rows], weights[self._rows]

    def _prove(self) -> None:
        """Require that the router's own choice comes back with its own weights."""
        if not self._is_known:
            again = self._run(lambda asked: self._ids)
            # in the tokens: pads may hold anything
            if not torch.equal(again[self._rows], self._weights[self._rows]):
                raise self._unknown()
            self._is_known = True

    def _run(self, answer: Answer) -> torch.Tensor:
        """Return the weights [N, n] when the router's top-k has another answer."""
        arguments, named = self._call
        with _OtherChoice(self._site, len(self._ids), answer) as choice:
            weights = self._site.reader.weigh(arguments, named)
        if choice.width == 0:
            raise self._unknown()
        # a router may append the weights of shared experts
        return weights.reshape(len(self._ids), -1)[:, : choice.width]

    def _unknown(self) -> GatehouseError:
        return GatehouseError(
            f"{self._site.router_path} ({type(self._site.router).__name__}) does not choose its "
            "experts by top-k, so the weights that it would give others are not known: replay "
            "ids together with weights, or other layers"
        )


class _OtherChoice(TorchFunctionMode):
    """Answers the call of `topk` that chooses experts; `width` is then the number it gave."""

    def __init__(self, site: RouterSite, rows: int, answer: Answer) -> None:
        super().__init__()
        self._site = site
        self._rows = rows
        self._answer = answer
        self.width = 0

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        asked = dict(zip(PARAMETERS, arguments, strict=False)) | (named or {})
        if function not in (torch.topk, torch.Tensor.topk) or not self._chooses_experts(asked):
            return function(*arguments, **(named or {}))
        scores = asked["input"]
        ids = self._answer(asked).to(torch.int64)
        self.width = ids.shape[-1]
        ids = ids.reshape(*scores.shape[:-1], self.width)
        return torch.return_types.topk((scores.gather(-1, ids), ids))

    def _chooses_experts(self, asked: dict[str, Any]) -> bool:
        """Return whether a call is no choice of groups: k of all experts, in each of the rows."""
        scores = asked["input"]
        wide = scores.shape[-1] == self._site.num_experts and asked["k"] == self._site.top_k
        return wide and scores.numel() == self._rows * self._site.num_experts
