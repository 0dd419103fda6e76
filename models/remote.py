"""Routers of models that bring their own code: a gate, and a list of experts called one by one.

No module is called with ids and weights there, so both are reconstructed and then compared with
what ran. In every batch, the ids must match the rows that each expert received. For a plain linear
gate, whose weights no module ever sees, the weights must also explain the block's own output in
the first batch.
"""

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gatehouse.models.readers import Reader, Routing, UnreadableRouter, Watch
from gatehouse.models.scoring import DISTINCT, INFERRED

EXPLAINED = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""Largest share of a block's output that the weights may leave unexplained, from rounding alone."""


class ExpertList(Reader):
    """A gate that gives (ids, weights, ...) or logits alone, and a ModuleList of experts."""

    fixed = "its own code calls the experts one by one, without ids"
    unseen_outputs = "brings its own code, which gives no module its weights"

    def __init__(self, block: nn.Module, router: nn.Module, experts: nn.Module) -> None:
        super().__init__(block, router, experts)
        self._combination: tuple[str, bool, float] | None = None
        self.start()

    def start(self) -> None:
        """Forget the gate, the rows and the outputs of an earlier forward pass."""
        self._gate: tuple[torch.Tensor, Any] | None = None
        self._received: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self._rows: dict[int, int] = {}
        self._shared: dict[str, torch.Tensor] = {}

    def num_experts(self) -> int:
        """Return the length of the list."""
        return len(self.experts)  # type: ignore[arg-type]

    def watch(self) -> list[Watch]:
        """Look at the gate, each expert, each shared expert, and finally the whole block."""
        experts = [
            Watch(expert, self._on_expert(index), optional=True)
            for index, expert in enumerate(self.experts.children())
        ]
        shared = [
            Watch(child, self._on_shared(name), optional=True)
            for name, child in self.block.named_children()
            if "shared" in name
        ]
        return [
            Watch(self.router, self._on_gate),
            *experts,
            *shared,
            Watch(self.block, lambda arguments, named, output: self._decide(output)),
        ]

    def read(self, *seen: Any) -> Routing:
        """Return the routing that was decided when the block ended."""
        return seen[-1]

    def _on_gate(self, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        hidden = next(value for value in (*arguments, *named.values()) if torch.is_tensor(value))
        self._gate = hidden.reshape(-1, hidden.shape[-1]), output

    def _on_expert(self, index: int) -> Any:
        def take(arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            rows = arguments[0].reshape(-1, arguments[0].shape[-1])
            self._rows[index] = self._rows.get(index, 0) + len(rows)
            if self._combination is None:
                self._received.setdefault(index, []).append((rows, output.reshape(rows.shape)))

        return take

    def _on_shared(self, name: str) -> Any:
        def take(arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            self._shared[name] = output.reshape(-1, output.shape[-1])

        return take

    def _decide(self, output: Any) -> Routing:
        """Return the routing of the forward pass that just left the block."""
        if self._gate is None:
            raise UnreadableRouter("did not run before its block ended")
        hidden, said = self._gate
        answers = said if isinstance(said, tuple) else (said,)
        tensors = [answer for answer in answers if torch.is_tensor(answer)]
        if not tensors:
            raise UnreadableRouter("gives neither logits nor ids as tensors")
        ids = next((t for t in tensors if t.ndim == 2 and not t.is_floating_point()), None)
        if ids is None:
            routing = self._from_logits(hidden, tensors[0], output)
        else:
            routing = self._from_choice(hidden, tensors, ids)
        self.start()
        return routing

    def _from_choice(
        self, hidden: torch.Tensor, tensors: list[torch.Tensor], ids: torch.Tensor
    ) -> Routing:
        """Read (ids, weights, ...); logits are the gate's own, or computed from its weight."""
        floats = [t for t in tensors if t.is_floating_point() and t.ndim == 2]
        weights = next((t for t in floats if t.shape == ids.shape), None)
        if weights is None:
            raise UnreadableRouter("gives ids without weights of their shape")
        self._require_rows(ids)
        wide = (len(ids), self.num_experts())
        logits = next((t for t in floats if t.shape == wide), None)
        return Routing(self._logits(hidden) if logits is None else logits, ids, weights)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        weight = getattr(self.router, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.shape[1:] != hidden.shape[1:]:
            raise UnreadableRouter("gives no logits and has no weight to compute them from")
        bias = getattr(self.router, "bias", None)
        bias = bias.float() if isinstance(bias, torch.Tensor) else None
        return F.linear(hidden.float(), weight.float(), bias)

    def _from_logits(self, hidden: torch.Tensor, logits: torch.Tensor, output: Any) -> Routing:
        """Take the k highest logits, k from the rows that ran, and weights that fit the output."""
        logits = logits.reshape(len(hidden), -1)
        top_k, rest = divmod(sum(self._rows.values()), len(hidden))
        if rest or not 1 <= top_k <= logits.shape[1]:
            raise UnreadableRouter("has experts that did not get the same number of rows per token")
        ids = logits.topk(top_k, dim=1).indices
        # a row of NaN does not show what it chose: a pad's is left out, a token's ends the run
        finite = logits.amax(dim=1).isfinite()
        self._require_rows(ids[finite], others=top_k * int((~finite).sum()))
        if self._combination is None and finite.any():
            self._combination = self._explain(hidden, logits, ids, output, finite)
        kind, normalised, scale = self._combination or ("softmax", True, 1.0)
        return Routing(logits, ids, scale * _weights(logits, ids, kind, normalised))

    def _explain(
        self,
        hidden: torch.Tensor,
        logits: torch.Tensor,
        ids: torch.Tensor,
        output: Any,
        finite: torch.Tensor,
    ) -> tuple[str, bool, float]:
        """Return (scoring kind, weights normalised?, factor) that fit the output's finite rows."""
        whole = output[0] if isinstance(output, tuple) else output
        tolerance = EXPLAINED.get(whole.dtype, 2e-2)
        whole = whole.reshape(hidden.shape).float()[finite]
        logits, ids = logits[finite], ids[finite]
        chosen = self._chosen_outputs(hidden[finite], ids)
        fits = []
        for kind, normalised in product(INFERRED, (True, False)):
            weights = _weights(logits, ids, kind, normalised)
            mixed = (weights.unsqueeze(-1) * chosen).sum(dim=1)
            fits.append((*self._unexplained(whole, mixed, finite), kind, normalised))
        (left, scale, kind, normalised), (second, *_) = sorted(fits)[:2]
        if not (left <= tolerance and second >= DISTINCT * max(left, 1e-7)):
            raise UnreadableRouter("applies weights that no known scoring explains")
        return kind, normalised, 1.0 if abs(scale - 1) < 1e-2 else scale

    def _unexplained(
        self, whole: torch.Tensor, mixed: torch.Tensor, finite: torch.Tensor
    ) -> tuple[float, float]:
        """Return the least share of the block's output [N, H] left unexplained, and the factor."""
        found = []
        for shared in self._shared_outputs(finite, whole.shape):
            routed = whole - shared
            scale = (routed * mixed).sum() / mixed.square().sum().clamp(min=1e-30)
            left = (routed - scale * mixed).norm() / routed.norm().clamp(min=1e-30)
            # NaN, from an output that overflowed, explains nothing and cannot be ranked
            found.append((float(left.nan_to_num(nan=torch.inf)), float(scale)))
        return min(found)

    def _chosen_outputs(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return [N, k, H]: the outputs of each token's experts, matched by the rows they got."""
        outputs = torch.zeros(*ids.shape, hidden.shape[1], device=hidden.device)
        marks = hidden.double().sum(dim=1)
        for expert, calls in self._received.items():
            tokens, slots = (ids == expert).nonzero(as_tuple=True)
            got = torch.cat([rows for rows, _ in calls]).double().sum(dim=1)
            gave = torch.cat([result for _, result in calls]).float()
            if len(got) > len(tokens):  # the rows left out here ran too
                mine = torch.isin(got, marks[tokens])
                got, gave = got[mine], gave[mine]
            if len(got) != len(tokens):
                raise UnreadableRouter("names experts other than those that ran")
            order = marks[tokens].argsort()
            outputs[tokens[order], slots[order]] = gave[got.argsort()]
        return outputs

    def _shared_outputs(self, finite: torch.Tensor, shape: torch.Size) -> list[torch.Tensor]:
        """Return what shared experts may have added: nothing, their output, or a gated one."""
        values = [
            value[finite].float() for value in self._shared.values() if len(value) == len(finite)
        ]
        wide = [value for value in values if value.shape == shape]
        gates = [value for value in values if value.shape[1] == 1]
        gated = [gate.sigmoid() * value for gate in gates for value in wide]
        return [*gated, *wide, torch.zeros(shape, device=finite.device)]

    def _require_rows(self, ids: torch.Tensor, others: int = 0) -> None:
        """Require that each expert received the rows the ids name, and `others` rows in all."""
        counts = torch.bincount(ids.flatten(), minlength=self.num_experts()).tolist()
        spare = [self._rows.get(expert, 0) - count for expert, count in enumerate(counts)]
        if min(spare) < 0 or sum(spare) != others:
            raise UnreadableRouter("names experts other than those that ran")


def _weights(logits: torch.Tensor, ids: torch.Tensor, kind: str, normalised: bool) -> torch.Tensor:
    scores = INFERRED[kind](logits.float()).gather(1, ids)
    return scores / scores.sum(dim=1, keepdim=True) if normalised else scores
