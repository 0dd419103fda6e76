"""A chat as a model reads it: the tokens that its template makes of it, and who speaks where.

A template is text with the turns put in. What it puts around a turn, such as `<|im_start|>user`,
belongs to that turn. The answer of a chat's last turn is what a model would have generated; what
the template puts before it, an engine puts there too.
"""

import itertools
import json
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedTokenizerBase

from gatehouse.warehouse.errors import ENDINGS, GatehouseError
from gatehouse.warehouse.plain_text import quoted
from gatehouse.warehouse.records import Tokens

ASSISTANT = "assistant"

OTHER_WORDS = "\ufff9\ufffa\ufffb"
"""What stands in for a turn's words to see where they are; no text begins with it."""

MASKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""What a template has in it if it says itself which tokens a model generates."""

TODAY = """{%- macro strftime_now(format) -%}
{{ {"%d %b %Y": "26 Jul 2024", "%Y-%m-%d": "2024-07-26"}.get(format, "26 July 2024") }}
{%- endmacro -%}"""
"""A template may write the day into a chat: a run is the same tomorrow if the day is."""


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the template of a tokenizer's chats.

    Raises:
        GatehouseError: it has none.
    """
    try:
        return str(tokenizer.get_chat_template())
    except (ValueError, AttributeError, NotImplementedError) as error:
        raise GatehouseError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template, and the samples are "
            "chats: name the model's version that is made for chats, or add --chat-as-text to take "
            "what is said as plain text"
        ) from error


def encode_chat(tokenizer: PreTrainedTokenizerBase, chat: str, *, reply: bool) -> Tokens:
    """Return the tokens of a chat, and where each turn begins.

    Args:
        tokenizer: with a template.
        chat: a JSON list of turns, each with `role` and `content`.
        reply: leave out answers at the end, and end where the model is to answer.

    Returns:
        Of the tokens, all are given but those of an answer at the end.

    Raises:
        GatehouseError: the tokenizer has no template, or it refuses the chat.
    """
    turns = json.loads(chat)
    while reply and turns and turns[-1]["role"] == ASSISTANT:
        turns.pop()
    with _refusals(tokenizer):
        return _Chat(tokenizer, turns).tokens(reply=reply)


@contextmanager
def _refusals(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Turn what a template or a tokenizer raises at a chat into one line with the way out."""
    try:
        yield
    except (*ENDINGS, GatehouseError, MemoryError):
        raise
    # a template raises what it likes; a panic in Rust is no Exception
    except BaseException as error:
        raise GatehouseError(
            f"the chat template of {tokenizer.name_or_path} refuses it ({quoted(error)}): mend the "
            "chat or leave it out, or add --chat-as-text to take what is said as plain text"
        ) from error


class _Chat:
    """The turns of one chat, and what a template makes of them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, Any]]) -> None:
        template = chat_template(tokenizer)
        self._tokenizer = tokenizer
        self._template = (TODAY if "strftime_now" in template else "") + template
        self._turns = turns

    def tokens(self, *, reply: bool) -> Tokens:
        text = self._rendered(self._turns, reply=reply)
        token_ids = self._encoded(text)
        begins = [
            (turn["role"], self._token_at(self._start(index, text), text, token_ids))
            for index, turn in enumerate(self._turns)
        ]
        given = len(token_ids)
        if reply:
            before = _common(self._rendered(self._turns), text)
            begins.append((ASSISTANT, self._token_at(before, text, token_ids)))
        elif self._turns[-1]["role"] == ASSISTANT:
            given = self._answer(text, token_ids)
        # of a turn that a template leaves out there is nothing before the next one
        firsts = [min(first for _, first in begins[index:]) for index in range(len(begins))]
        turns = [(role, first) for (role, _), first in zip(begins, firsts, strict=True)]
        return Tokens(array("i", token_ids), given, turns)

    def _answer(self, text: str, token_ids: list[int]) -> int:
        """Return the first token of the last turn that the model would have generated."""
        if MASKED.search(self._template) and self._tokenizer.is_fast:
            mask = self._rendered_as_tokens()["assistant_masks"]
            begins = [
                index for index, pair in enumerate(itertools.pairwise([0, *mask])) if pair == (0, 1)
            ]
            if begins:
                return begins[-1]
        prompt = self._of_some(len(self._turns) - 1, reply=True)
        if prompt and text.startswith(prompt):
            return self._token_at(len(prompt), text, token_ids)
        return self._token_at(self._words(len(self._turns) - 1, text), text, token_ids)

    def _start(self, index: int, text: str) -> int:
        """Return the character at which a turn begins, and what the template puts before it."""
        if index == 0:
            return 0
        before = self._of_some(index)
        if before and text.startswith(before):
            return len(before)
        # templates that drop earlier thinking, or that refuse an unfinished chat
        return self._words(index, text)

    def _words(self, index: int, text: str) -> int:
        """Return the character at which the words of a turn begin."""
        turns = list(self._turns)
        turns[index] = turns[index] | {"content": OTHER_WORDS}
        return _common(self._rendered(turns), text)

    def _of_some(self, number: int, *, reply: bool = False) -> str:
        """Return the text of the first turns, empty if the template refuses to end there."""
        try:
            return self._rendered(self._turns[:number], reply=reply)
        except Exception:  # a template raises what it likes
            return ""

    def _rendered(self, turns: list[dict[str, Any]], *, reply: bool = False) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                turns, chat_template=self._template, tokenize=False, add_generation_prompt=reply
            )
        )

    def _rendered_as_tokens(self) -> Any:
        return self._tokenizer.apply_chat_template(
            self._turns,
            chat_template=self._template,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )

    def _encoded(self, text: str) -> list[int]:
        # the template has put the special tokens there
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _token_at(self, character: int, text: str, token_ids: list[int]) -> int:
        """Return the token in which a character of the text is."""
        return _common(self._encoded(text[:character]), token_ids)


def _common(left: Any, right: Any) -> int:
    """Return how many items two sequences have in common before they differ."""
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
