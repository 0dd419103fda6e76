"""How likely a model finds each token of the vocabulary: its head's own code, in chunks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from gatehouse.models.replay.replaying import Replayed
from gatehouse.models.zoo import LoadedModel
from gatehouse.warehouse.errors import GatehouseError

LOGITS_AT_ONCE = 2**24
"""Numbers in one tensor of logits: 64 MB in float32, of which a few are held."""


class Head:
    """A model's own way from hidden states to the likelihood of tokens, scales and caps included.

    Args:
        loaded: with its head.
        logits_at_once: positions x vocabulary, which bounds the memory.

    Raises:
        GatehouseError: it was loaded without one.
    """

    def __init__(self, loaded: LoadedModel, logits_at_once: int = LOGITS_AT_ONCE) -> None:
        if loaded.head is None:
            raise GatehouseError(
                f"{type(loaded.model).__name__} has no language-model head, so nothing says what "
                "it loses: name a model that generates text"
            )
        self._head = loaded.head
        self._backbone = loaded.model
        vocabulary = len(loaded.model.get_input_embeddings().weight)  # type: ignore[operator]
        self.positions = max(1, logits_at_once // vocabulary)

    @torch.inference_mode()
    def log_probabilities(self, replayed: Replayed, rows: torch.Tensor) -> torch.Tensor:
        """Return log-softmax [P, V] float32 of the hidden states in those rows [P] of the tokens.

        The head's own code runs, with a backbone that has its answer already.
        """
        hidden = replayed.hidden[rows.to(replayed.hidden.device)].unsqueeze(0)
        answer = replayed.output_class(last_hidden_state=hidden)
        token_ids = torch.zeros(hidden.shape[:2], dtype=torch.int64, device=hidden.device)
        with _answering(self._backbone, answer):
            logits = self._head(input_ids=token_ids, use_cache=False).logits
        return logits[0].float().log_softmax(dim=-1)


@contextmanager
def _answering(module: nn.Module, answer: Any) -> Iterator[None]:
    """Let a module return an answer in the place of running."""
    before = vars(module).get("forward")
    module.forward = lambda *arguments, **named: answer
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def divergence(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return KL(own || other) [P] float64 in nats, of log-probabilities [P, V] float32.

    The sum of p ln(p / q) - p + q, which is the same as both p and q sum to 1, and where rounding
    makes no term negative that is not 0 within it.
    """
    p, q = own.exp(), other.exp()
    # 0 times minus infinity is NaN, and no share of the divergence
    terms = torch.where(p > 0, p * (own - other), 0) - p + q
    return terms.clamp(min=0).sum(dim=1, dtype=torch.float64)
