"""How likely a model finds each token of the vocabulary: its head's own code, in chunks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, AutoModelForSeq2SeqLM

from gatehouse.models.families import text_part
from gatehouse.models.replay.replaying import Replayed
from gatehouse.models.text.generation import HEADS, class_with_head
from gatehouse.models.zoo import LoadedModel, ModelPlan
from gatehouse.warehouse.errors import GatehouseError

SCORING_HEADS = (*HEADS, (AutoModelForSeq2SeqLM, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING))
"""Classes whose head says how likely a token is, and the configs that they know."""

LOGITS_AT_ONCE = 2**24
"""Numbers in one tensor of logits: 64 MB in float32, of which a few are held."""

IN_CACHE = 2**17
"""Numbers that a CPU's core has at hand: what is done to logits, one operation after the other, is
done to so many at a time, and takes a tenth of the time."""


def scoring_class(plan: ModelPlan) -> Any:
    """Return the class that loads a model with the head that `Head` needs, for `plan.load(head=)`.

    Raises:
        GatehouseError: there is none.
    """
    loader = class_with_head(plan, SCORING_HEADS)
    if loader is None or text_part(plan.skeleton):
        raise _headless(plan.name)
    return loader


class Head:
    """A model's own way from hidden states to the likelihood of tokens, scales and caps included.

    Args:
        loaded: with its head.
        logits_at_once: positions x vocabulary, which bounds the memory.

    Raises:
        GatehouseError: it was loaded without one, or has none over its text.
    """

    def __init__(self, loaded: LoadedModel, logits_at_once: int = LOGITS_AT_ONCE) -> None:
        # the head of DiffusionGemma reads what its decoder makes of noise, not the text
        if loaded.head is None or text_part(loaded.model):
            raise _headless(type(loaded.model).__name__)
        self._head = loaded.head
        self._backbone = loaded.model
        vocabulary = len(loaded.model.get_input_embeddings().weight)  # type: ignore[operator]
        self.positions = max(1, logits_at_once // vocabulary)

    def log_probabilities(self, replayed: Replayed, rows: torch.Tensor) -> torch.Tensor:
        """Return log-softmax [P, V] float32 of `logits`."""
        return self.logits(replayed, rows).float().log_softmax(dim=-1)

    @torch.inference_mode()
    def logits(self, replayed: Replayed, rows: torch.Tensor) -> torch.Tensor:
        """Return [P, V] of the hidden states in those rows [P] of the tokens.

        The head's own code runs, with a backbone that has its answer already.
        """
        hidden = replayed.hidden[rows.to(replayed.hidden.device)].unsqueeze(0)
        answer = replayed.output_class(last_hidden_state=hidden)
        token_ids = torch.zeros(hidden.shape[:2], dtype=torch.int64, device=hidden.device)
        with _answering(self._backbone, answer):
            return self._head(input_ids=token_ids, use_cache=False).logits[0]


def _headless(name: str) -> GatehouseError:
    return GatehouseError(
        f"{name} has no language-model head over the text that it reads, so nothing says what it "
        "loses: name a model that generates text, one token after another"
    )


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


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """What the untouched model says of P tokens.

    logarithms: [P, V] float32, of probabilities; targets: [P] int64, the tokens that came.
    """

    logarithms: torch.Tensor
    targets: torch.Tensor

    @cached_property
    def _likeliest(self) -> torch.Tensor:
        return self.logarithms.argmax(dim=1)

    @torch.inference_mode()
    def beside(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return fields of `measuring.Measured`, each [P], for other logits [P, V] of these."""
        on_cpu = logits.device.type == "cpu"
        rows = max(1, IN_CACHE // logits.shape[1]) if on_cpu else max(1, len(logits))
        asked = (self.logarithms, self._likeliest, self.targets, logits)
        each = (one.to(logits.device).split(rows) for one in asked)
        parts = [_compared(*part) for part in zip(*each, strict=True)]
        return {field: torch.cat([part[field] for part in parts]) for field in parts[0]}


def _compared(
    own: torch.Tensor, likeliest: torch.Tensor, targets: torch.Tensor, logits: torch.Tensor
) -> dict[str, torch.Tensor]:
    other = logits.float().log_softmax(dim=-1)
    wanted = targets.unsqueeze(1)
    return {
        "nll": -other.gather(1, wanted).squeeze(1),
        "untouched_nll": -own.gather(1, wanted).squeeze(1),
        "kl": divergence(own, other),
        "same_top": likeliest == other.argmax(dim=1),
    }


def divergence(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return KL(own || other) [P] float64 in nats, of log-probabilities [P, V] float32.

    The sum of p ln(p / q) - p + q, which is the same as both p and q sum to 1, and where rounding
    makes no term negative that is not 0 within it.
    """
    p = own.exp()
    terms = own - other
    # 0 times minus infinity is NaN, and no share of the divergence
    terms.mul_(p).nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    terms.sub_(p).add_(other.exp()).clamp_(min=0)
    return terms.sum(dim=1, dtype=torch.float64)
