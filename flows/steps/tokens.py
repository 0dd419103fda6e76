"""What a model reads of a shard: its samples' tokens, and those that the model adds to them."""

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.flows.console import say
from gatehouse.flows.request import RunRequest
from gatehouse.ingest.windows import batches, continued, tokenize
from gatehouse.models.text.chat import encode_chat
from gatehouse.models.text.generation import Choice, Generator, ending_tokens
from gatehouse.models.tokenizer import encode
from gatehouse.models.zoo import LoadedModel, ModelPlan
from gatehouse.warehouse.plain_text import counted
from gatehouse.warehouse.records import Sample, TokenWindow


def prompt_windows(
    request: RunRequest, tokenizer: Any, samples: list[Sample]
) -> tuple[list[TokenWindow], pa.Table]:
    """Return the windows of samples' own text, and a row for each sample, schema SAMPLES.

    Raises:
        GatehouseError: a chat cannot be encoded.
    """
    return tokenize(
        samples,
        partial(encode, tokenizer),
        max_length=request.max_length - request.generate,
        windows=request.windows,
        encode_chat=partial(encode_chat, tokenizer, reply=bool(request.generate)),
    )


class ShardTokens:
    """Makes token windows of samples, as a request asks.

    Args:
        request: how long, in windows or not, and how many tokens to add.
        plan: the model's.
        loaded: the model, with its head if it is to add tokens.
        batching: what may share a batch, as `RoutingTap` says.
    """

    def __init__(
        self, request: RunRequest, plan: ModelPlan, loaded: LoadedModel, batching: str
    ) -> None:
        self._request = request
        self._loaded = loaded
        self._prompt_length = request.max_length - request.generate
        self._generator: Generator | None = None
        if request.generate:
            choice = Choice(request.generate, request.temperature, request.seed)
            self._generator = Generator(loaded, choice, ending_tokens(plan), batching)

    def of(self, samples: list[Sample]) -> tuple[list[TokenWindow], pa.Table]:
        """Return the windows of samples, and a row for each sample, schema SAMPLES.

        Raises:
            GatehouseError: a chat cannot be encoded, or the model cannot continue a prompt.
        """
        windows, rows = prompt_windows(self._request, self._loaded.tokenizer, samples)
        if self._generator is None:
            return windows, rows
        unanswered = _cut_chats(rows)
        if unanswered:
            chats = counted(len(unanswered), "chat")
            say(f"{chats} longer than {self._prompt_length:,} tokens: cut, and not answered")
        prompts = [window for window in windows if window.sample_id not in unanswered]
        budget = self._request.batch_size * self._prompt_length
        added = self._generator.continuations(batches(prompts, token_budget=budget))
        return continued(windows, rows, added)


def _cut_chats(rows: pa.Table) -> set[int]:
    """Return the chats that lost their end, where the model would have answered."""
    cut = pc.and_(pc.is_valid(rows["turns"]), pc.greater(rows["dropped_tokens"], 0))
    return set(rows.filter(cut)["sample_id"].to_pylist())
