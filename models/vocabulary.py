"""The tokens of a tokenizer, and a fingerprint of how it reads text."""

import hashlib
from typing import Any

from transformers import PreTrainedTokenizerBase


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """Return every token as {token_id, token_str, is_special}, schema VOCABULARY.

    A token of incomplete UTF-8 bytes has no text of its own: it keeps the tokenizer's spelling.
    Special are those with a role, such as the end of a text, and added ones that are marked so.
    """
    added = tokenizer.added_tokens_decoder.items()
    special = {*tokenizer.all_special_ids, *(index for index, token in added if token.special)}
    spellings = sorted((index, token) for token, index in tokenizer.get_vocab().items())
    return [
        {
            "token_id": index,
            "token_str": token if "\ufffd" in (text := tokenizer.decode([index])) else text,
            "is_special": index in special,
        }
        for index, token in spellings
    ]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return 16 hexadecimal digits that change when the tokenization can change."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    described = backend.to_str() if backend else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(described.encode()).hexdigest()[:16]
