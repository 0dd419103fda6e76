"""Chats in rows: a list of turns, in the forms that OpenAI and ShareGPT have spread."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

SAID = ("content", "value", "text")
"""Fields of a turn that hold what was said."""
SPEAKERS = ("role", "from")
"""Fields of a turn that name who said it."""
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant"}
"""What ShareGPT calls the roles of OpenAI's form, which models' templates know."""
KEPT = ("name", "tool_calls", "tool_call_id", "reasoning_content", "thinking")
"""Further fields of a turn that templates read."""


class Chat(NamedTuple):
    """What a row holds as a chat.

    `said` is what was said, with a blank line between turns and without the names of those who
    speak, which nobody wrote. `turns` is a JSON list of the turns, each with role and content, None
    where a turn does not say who speaks.
    """

    said: str
    turns: str | None


def chat_in(value: Any) -> Chat | None:
    """Return the chat that a field holds; None for what is no chat.

    A chat is a list of turns, or each field of the turns as a list. Of a turn with several parts
    the parts of text are taken; a turn without text, such as the call of a tool, says nothing.
    """
    turns = _turns(value)
    if turns is None:
        return None
    said, kept = [], []
    for turn in turns:
        text = _said_in(turn)
        if text is None:
            return None
        if text:
            said.append(text)
        kept.append(_kept(turn, text))
    if not (kept and all(turn["role"] for turn in kept)):
        return Chat("\n\n".join(said), None)
    return Chat("\n\n".join(said), json.dumps(kept, default=str, ensure_ascii=False))


def chat_in_text(text: str) -> Chat | None:
    """Return the chat that is kept as JSON in a text; None for any other text."""
    turns = None
    if text.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            turns = json.loads(text)
    return chat_in(turns)


def _turns(value: Any) -> list[Any] | None:
    if (
        value
        and isinstance(value, Mapping)
        and all(isinstance(each, list) for each in value.values())
    ):
        return [dict(zip(value, each, strict=False)) for each in zip(*value.values(), strict=False)]
    return value if isinstance(value, list) else None


def _said_in(turn: Any) -> str | None:
    """Return what a turn says, None for what is no turn."""
    if not isinstance(turn, Mapping):
        return None
    held = [turn[field] for field in SAID if field in turn]
    if not held:
        # OpenAI's form may leave the content out where tools are called
        return "" if turn.get("tool_calls") else None
    content = held[0]
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _kept(turn: Mapping[str, Any], text: str) -> dict[str, Any]:
    spoken_by = next((turn[field] for field in SPEAKERS if isinstance(turn.get(field), str)), "")
    # tables hold null where a turn has no such field
    beside = {field: turn[field] for field in KEPT if turn.get(field) is not None}
    return {"role": ROLES.get(spoken_by, spoken_by), "content": text} | beside
