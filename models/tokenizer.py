"""What a tokenizer knows: the token ids of texts, its vocabulary, a fingerprint of both.

A tokenizer keeps some 50 bytes for each character of what it encodes at once, so a long text is
encoded in pieces. Two neighbouring pieces share some text. Where both cut a stretch of it into the
same tokens, what lies before has no influence on what lies behind: one piece goes on where the
other ends, and the ids are those of the whole text.
"""

import hashlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerBase

from gatehouse.warehouse.errors import ENDINGS, GatehouseError
from gatehouse.warehouse.plain_text import quoted

PIECE = 100_000
"""Characters of a piece."""

SHARED = 4_096
"""Characters that two neighbouring pieces share; they must agree on the middle half of them."""

LEAST_SHARED_TOKENS = 8
"""Fewer tokens in that half, such as one unknown word, are no agreement."""

TOGETHER = 4
"""Pieces encoded at once: a tokenizer uses a core for each."""


@dataclass(frozen=True)
class Piece:
    """Some text of a longer one, encoded: its first character, and the one after its last."""

    start: int
    end: int
    encoding: Any
    token_ids: list[int]

    def token_from(self, character: int, *, of_word: bool) -> tuple[int, int] | None:
        """Return the first token that begins at a character of the text or soon after, and where.

        With `of_word`, it is the first one of what the tokenizer encodes by itself.
        """
        word, first = self.encoding.token_to_word, character - self.start
        places = range(first, min(first + SHARED // 4, self.end - self.start))
        met = (self.encoding.char_to_token(place) for place in places)
        token = next((token for token in met if token is not None), None)
        while token is not None and token < len(self.token_ids):
            begins = self.encoding.token_to_chars(token)
            if begins is None or begins[0] >= places.stop:
                break
            if begins[0] >= first and not (of_word and word(token) == word(token - 1)):
                return token, self.start + begins[0]
            token += 1
        return None


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list["array[int]"]:
    """Return the token ids of each text, special tokens as the tokenizer adds them.

    A long text is encoded in pieces if the tokenizer says where its tokens lie in the text, as
    all but those written in Python do. A Unigram tokenizer that sees it as one word decides
    between equal scores by the rounding of a sum over all of it: then it is encoded at once.
    """
    if tokenizer.is_fast and any(len(text) > PIECE for text in texts):
        return [_in_pieces(tokenizer, text) for text in texts]
    return [array("i", token_ids) for token_ids in _encoded(tokenizer, texts)["input_ids"]]


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Any:
    with _named(tokenizer):
        return tokenizer(
            texts,
            add_special_tokens=True,
            verbose=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )


@contextmanager
def _named(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Turn what a tokenizer raises into one line that names it; a panic in Rust is no Exception."""
    try:
        yield
    except (*ENDINGS, GatehouseError, MemoryError):
        raise
    except BaseException as error:
        raise GatehouseError(
            f"the tokenizer of {tokenizer.name_or_path} gave up ({quoted(error)}): restore its "
            "files, or name another model"
        ) from error


def _in_pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> "array[int]":
    found = array("i")
    of_word = isinstance(tokenizer.backend_tokenizer.model, Unigram)
    size, start, taken = PIECE, 0, 0
    while True:
        pieces = _pieces(tokenizer, text, start, size)
        piece = next(pieces)
        for following in pieces:
            seam = _seam(piece, following, of_word=of_word)
            if seam is None:
                break
            found.extend(piece.token_ids[taken : seam[0]])
            piece, taken = following, seam[1]
        if piece.end == len(text):
            found.extend(piece.token_ids[taken:])
            return found
        # no agreement, as within one word of 5,000 characters: larger pieces from here on
        start, size = piece.start, 2 * size


def _pieces(
    tokenizer: PreTrainedTokenizerBase, text: str, start: int, size: int
) -> Iterator[Piece]:
    """Yield pieces of a text from a character on, each but the last one of `size` characters."""
    # a rest shorter than the shared text lies in the piece before
    starts = range(start, max(start + 1, len(text) - SHARED), size - SHARED)
    for first in range(0, len(starts), TOGETHER):
        spans = [(each, min(each + size, len(text))) for each in starts[first : first + TOGETHER]]
        encoded = _encoded(tokenizer, [text[begin:end] for begin, end in spans])
        for span, encoding, token_ids in zip(
            spans, encoded.encodings, encoded["input_ids"], strict=True
        ):
            yield Piece(*span, encoding, token_ids)


def _seam(left: Piece, right: Piece, *, of_word: bool) -> tuple[int, int] | None:
    """Return the index of the token at which `right` goes on, in both, or None if they disagree."""
    quarter = (left.end - right.start) // 4
    tokens = []
    for place in (right.start + quarter, right.start + 2 * quarter, right.start + 3 * quarter):
        in_left = left.token_from(place, of_word=of_word)
        in_right = right.token_from(place, of_word=of_word)
        if not (in_left and in_right) or in_left[1] != in_right[1]:
            return None
        tokens.append((in_left[0], in_right[0]))
    stretch, same = (
        piece.token_ids[first:last]
        for piece, first, _, last in zip((left, right), *tokens, strict=True)
    )
    return tokens[1] if stretch == same and len(stretch) >= LEAST_SHARED_TOKENS else None


def vocabulary(
    tokenizer: PreTrainedTokenizerBase, only: Collection[int] | None = None
) -> list[dict[str, Any]]:
    """Return every token, or `only` some, as {token_id, token_str, is_special}, schema VOCABULARY.

    A token of incomplete UTF-8 bytes has no text of its own: it keeps the tokenizer's spelling.
    Special are those with a role, such as the end of a text, and added ones that are marked so.
    """
    added = tokenizer.added_tokens_decoder.items()
    special = {*tokenizer.all_special_ids, *(index for index, token in added if token.special)}
    spellings = sorted((index, token) for token, index in tokenizer.get_vocab().items())
    with _named(tokenizer):
        return [
            {
                "token_id": index,
                "token_str": token if "\ufffd" in (text := tokenizer.decode([index])) else text,
                "is_special": index in special,
            }
            for index, token in spellings
            if only is None or index in only
        ]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase, beside: Sequence[str] = ()) -> str:
    """Return 16 hexadecimal digits that change when the tokenization can change.

    They change too with what `beside` it decides about a run's tokens, such as a chat's template.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    described = backend.to_str() if backend else repr(sorted(tokenizer.get_vocab().items()))
    whole = "\n".join([described, *beside])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]
