"""What a model adds to a prompt, the same whatever else is in its batch.

The rows of a batch begin together, at the shortest prompt's length. While a longer prompt lasts,
its own tokens go in one by one in the place of the model's: no row is padded, so none has other
positions or another mask than it would have by itself.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    LogitsProcessor,
    StoppingCriteria,
)

from gatehouse.models.batches import Memory, check_embedded, out_of_memory, pad, uniform
from gatehouse.models.checkpoint.adapters import described
from gatehouse.models.source import quiet
from gatehouse.models.zoo import LoadedModel, ModelPlan
from gatehouse.warehouse.errors import ENDINGS, GatehouseError
from gatehouse.warehouse.plain_text import quoted
from gatehouse.warehouse.records import TokenWindow

HEADS = (
    (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING),
    (AutoModelForImageTextToText, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING),
)
"""Classes that load a model with its head, and the configs that they know."""


@dataclass(frozen=True)
class Choice:
    """How a model continues a prompt: `most` tokens at most, each the likeliest, or drawn.

    With a `temperature` above 0, a token is drawn by the softmax of the logits divided by it. The
    numbers that decide follow from `seed` and the sample's id alone.
    """

    most: int
    temperature: float = 0.0
    seed: int = 0


def generating_class(plan: ModelPlan) -> Any:
    """Return the class that loads a model with a head that generates text, over the same backbone.

    Raises:
        GatehouseError: there is none.
    """
    loader = None if plan.config.is_encoder_decoder else class_with_head(plan, HEADS)
    if loader is None:
        raise GatehouseError(
            f"--generate: {plan.name} does not generate text; leave it out, or name a decoder with "
            "a language-model head (encoders, and models of two stacks, are captured without)"
        )
    return loader


def class_with_head(plan: ModelPlan, heads: Iterable[tuple[Any, Any]]) -> Any:
    """Return the first class that generates text over the plan's backbone, or None.

    Args:
        plan: of the backbone alone.
        heads: classes that load a model with its head, and the configs that they know.
    """
    config, trusted = plan.config, plan.source.trust_remote_code
    offered = getattr(config, "auto_map", None) or {}
    for loader, known in heads:
        if type(config) not in known and loader.__name__ not in offered:
            continue
        with plan.source.errors(), quiet(), torch.device("meta"):
            model = loader.from_config(config, trust_remote_code=trusted)
        if model.can_generate() and type(model.base_model) is type(plan.skeleton):
            return loader
    return None


def ending_tokens(plan: ModelPlan) -> list[int]:
    """Return the token ids that end a text: those that the model's files state.

    Raises:
        GatehouseError: the tokenizer, or the hub's file, cannot be read.
    """
    with plan.source.errors(), quiet():
        path = plan.source.file("generation_config.json")
    config = plan.config.get_text_config()
    stated = described(path).get("eos_token_id", getattr(config, "eos_token_id", None))
    listed = stated if isinstance(stated, list) else [stated]
    return sorted({each for each in (*listed, plan.tokenizer.eos_token_id) if each is not None})


class Generator:
    """Continues prompts until a token that ends a text, or as far as was asked.

    Args:
        loaded: with its head.
        choice: how it continues them.
        ends: the token ids that end a text.
        batching: what may share a batch: padded (any prompts), equal (of one length), or alone.
    """

    def __init__(
        self, loaded: LoadedModel, choice: Choice, ends: Iterable[int], batching: str
    ) -> None:
        if loaded.head is None:
            raise ValueError("load the model with its head")
        self._head = loaded.head
        self._name = loaded.tokenizer.name_or_path
        self._choice = choice
        self._batching = batching
        self._memory = Memory(loaded.head)
        known = torch.tensor(sorted(set(loaded.tokenizer.get_vocab().values())))
        # an embedding may have more rows, which no text uses
        self._known = known[known < len(loaded.head.get_input_embeddings().weight)]
        self._ends = frozenset(ends)
        # how a repository would have it generate, which a run does not record
        self._head.generation_config = GenerationConfig()

    @torch.inference_mode()
    def continuations(self, batches: Iterable[list[TokenWindow]]) -> dict[int, "array[int]"]:
        """Return sample id -> the token ids that the model adds to a prompt, at least one.

        Args:
            batches: prompts, one window a sample, none of them empty.

        Raises:
            GatehouseError: the model cannot continue a prompt, or memory does not hold one prompt
                alone.
        """
        found: dict[int, array[int]] = {}
        for group in (part for windows in batches for part in uniform(windows, self._batching)):
            for _, added in self._memory.run(group, self._continue):
                found |= added
        return found

    def _continue(self, windows: list[TokenWindow]) -> dict[int, "array[int]"]:
        rows = [_Row(window, self._choice, self._ends) for window in windows]
        lengths = [len(window.token_ids) for window in windows]
        together = min(lengths)
        whole, _ = pad(windows)
        embedding = self._head.get_input_embeddings().weight
        check_embedded(whole, len(embedding))
        token_ids = whole[:, :together].contiguous().to(embedding.device)
        try:
            with quiet():
                self._head.generate(
                    token_ids,
                    attention_mask=torch.ones_like(token_ids),
                    max_new_tokens=max(lengths) - together + self._choice.most,
                    logits_processor=[_Choosing(rows, self._known, self._choice.temperature)],
                    stopping_criteria=[_AllDone(rows)],
                    do_sample=False,
                    use_cache=True,
                )
        except (*ENDINGS, GatehouseError):
            raise
        # of a family's own code, or of the code in a repository
        except Exception as error:
            if out_of_memory(error):
                raise
            raise GatehouseError(
                f"{self._name} cannot continue a prompt ({quoted(error)}): leave --generate out"
            ) from error
        return {row.sample_id: row.added for row in rows}


class _Row:
    """One prompt and what has been added to it."""

    def __init__(self, window: TokenWindow, choice: Choice, ends: frozenset[int]) -> None:
        self.sample_id = window.sample_id
        self.added = array("i")
        self._prompt = window.token_ids
        self._choice = choice
        self._ends = ends
        self._draws = np.random.default_rng([choice.seed, window.sample_id])

    @property
    def is_done(self) -> bool:
        """Whether nothing is to be added any more."""
        ended = bool(self.added) and self.added[-1] in self._ends
        return ended or len(self.added) >= self._choice.most

    def adds_at(self, position: int) -> bool:
        """Return whether the token at a position is not the prompt's, and is wanted."""
        return position >= len(self._prompt) and not self.is_done

    def draw(self) -> float:
        """Return the next number in [0, 1) that decides."""
        return float(self._draws.random())

    def take(self, position: int, chosen: int) -> int:
        """Return the token for a position; the one chosen is added where the prompt has none."""
        if position < len(self._prompt):
            return int(self._prompt[position])
        if not self.is_done:
            self.added.append(chosen)
        return chosen


class _Choosing(LogitsProcessor):
    """Leaves each row one token to choose from: its prompt's next one, or the one it adds."""

    def __init__(self, rows: list[_Row], known: torch.Tensor, temperature: float) -> None:
        self._rows = rows
        self._known = known
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        position = input_ids.shape[1]
        known = self._known.to(scores.device)
        # float64: shares near 1 keep their differences
        indices = self._indices(scores[:, known].double(), position)
        chosen = known[indices].tolist()
        taken = [row.take(position, each) for row, each in zip(self._rows, chosen, strict=True)]
        only = torch.full_like(scores, float("-inf"))
        return only.scatter(1, torch.tensor(taken, device=scores.device).unsqueeze(1), 0.0)

    def _indices(self, logits: torch.Tensor, position: int) -> torch.Tensor:
        """Return [B]: which of the known tokens each row would add, from logits [B, V]."""
        if self._temperature == 0:
            return logits.argmax(1)
        # a row's own tokens alone use up its numbers
        draws = [row.draw() if row.adds_at(position) else 0.0 for row in self._rows]
        shares = (logits / self._temperature).softmax(1).cumsum(1)
        # rounding may leave the sum of all shares a little off 1
        drawn = torch.tensor(draws, dtype=shares.dtype, device=shares.device) * shares[:, -1]
        found = torch.searchsorted(shares, drawn.unsqueeze(1), right=True).squeeze(1)
        return found.clamp(max=shares.shape[1] - 1)


class _AllDone(StoppingCriteria):
    """Ends a batch when nothing is to be added to any of its rows."""

    def __init__(self, rows: list[_Row]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        done = [row.is_done for row in self._rows]
        return torch.tensor(done, device=input_ids.device)
