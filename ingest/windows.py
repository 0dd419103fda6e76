"""From samples to token windows, and from windows to batches with little padding."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

import pyarrow as pa

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import SAMPLES, Sample, Tokens, TokenWindow

Encode = Callable[[list[str]], list["array[int]"]]
EncodeChat = Callable[[str], Tokens]

ENCODED_CHARACTERS = 1_000_000
"""Most characters of several texts to encode at once: a tokenizer keeps some 50 bytes for each."""


def tokenize(
    samples: list[Sample],
    encode: Encode,
    *,
    max_length: int,
    windows: bool,
    encode_chat: EncodeChat | None = None,
) -> tuple[list[TokenWindow], pa.Table]:
    """Cut every sample's tokens into windows of at most `max_length`.

    Besides the windows, of 4 bytes a token, memory holds the encodings of one text, or of several
    short ones.

    Args:
        samples: texts, in the order of their ids.
        encode: token ids of each text, special tokens included.
        max_length: longest window, in tokens.
        windows: cut a long sample into consecutive windows, so that no token is lost; otherwise
            keep its first `max_length` tokens. The tokenizer's opening token stands before the
            first window only: nothing is in the events that is not in the text's encoding.
        encode_chat: the tokens of a chat; without it, a chat is encoded as the text that it is
            kept as.

    Returns:
        The windows in the order of (sample, start), none for a sample without tokens; and one row
        a sample, schema SAMPLES: tokens in its windows, tokens dropped.

    Raises:
        GatehouseError: `max_length` is below 1, or a chat cannot be encoded; the message names it.
        ValueError: `encode` does not return one list per text.
    """
    if max_length < 1:
        raise GatehouseError(f"max_length is {max_length}: ask for at least 1 token")
    cut: list[TokenWindow] = []
    rows = []
    for sample, tokens in _encoded(samples, encode, encode_chat):
        token_ids = tokens.token_ids
        landed = len(token_ids) if windows else min(len(token_ids), max_length)
        # a view of all of a long text's tokens, not a copy
        view = memoryview(token_ids if windows else token_ids[:landed])
        for start in range(0, landed, max_length):
            cut.append(TokenWindow(sample.sample_id, start, view[start : start + max_length]))
        rows.append(_row(sample, tokens, landed))
    return cut, pa.Table.from_pylist(rows, schema=SAMPLES)


def continued(
    windows: list[TokenWindow], samples: pa.Table, added: Mapping[int, Sequence[int]]
) -> tuple[list[TokenWindow], pa.Table]:
    """Return the windows with what a model added to them, and the rows of their samples.

    Args:
        windows: one a sample, each with a whole prompt.
        samples: their rows, schema SAMPLES.
        added: sample id -> the token ids that follow its prompt.
    """
    longer = [
        TokenWindow(
            window.sample_id,
            window.start,
            array("i", [*window.token_ids, *added.get(window.sample_id, ())]),
        )
        for window in windows
    ]
    rows = [
        row | {"tokens": row["tokens"] + len(added.get(row["sample_id"], ()))}
        for row in samples.to_pylist()
    ]
    return longer, pa.Table.from_pylist(rows, schema=SAMPLES)


def _encoded(
    samples: list[Sample], encode: Encode, encode_chat: EncodeChat | None
) -> Iterator[tuple[Sample, Tokens]]:
    for is_chat, group in groupby(samples, lambda sample: sample.is_chat and bool(encode_chat)):
        if is_chat and encode_chat:
            for sample in group:
                yield sample, _chat(sample, encode_chat)
        else:
            for sample, token_ids in _texts(list(group), encode):
                yield sample, Tokens(token_ids, len(token_ids))


def _chat(sample: Sample, encode_chat: EncodeChat) -> Tokens:
    try:
        return encode_chat(sample.text)
    except GatehouseError as error:
        raise GatehouseError(f"sample {sample.sample_id} ({sample.name}): {error}") from error


def _texts(samples: list[Sample], encode: Encode) -> Iterator[tuple[Sample, "array[int]"]]:
    start = characters = 0
    for end, sample in enumerate(samples):
        if end > start and characters + len(sample.text) > ENCODED_CHARACTERS:
            yield from _together(samples[start:end], encode)
            start, characters = end, 0
        characters += len(sample.text)
    yield from _together(samples[start:], encode)


def _together(samples: list[Sample], encode: Encode) -> Iterator[tuple[Sample, "array[int]"]]:
    yield from zip(samples, encode([sample.text for sample in samples]), strict=True)


def _row(sample: Sample, tokens: Tokens, landed: int) -> dict[str, object]:
    is_whole = landed == len(tokens.token_ids)
    spoken = [turn for turn in tokens.turns or () if is_whole or turn[1] < landed]
    turns = [{"role": role, "first_position": first} for role, first in spoken]
    return {
        "sample_id": sample.sample_id,
        "name": sample.name,
        "domain": sample.domain,
        "document": sample.document,
        "split": sample.split,
        "tokens": landed,
        "dropped_tokens": len(tokens.token_ids) - landed,
        "text_sha256": sample.text_sha256,
        "document_sha256": sample.document_sha256,
        "prompt_tokens": min(tokens.prompt_tokens, landed),
        "turns": None if tokens.turns is None else turns,
    }


def batches(windows: list[TokenWindow], *, token_budget: int) -> Iterator[list[TokenWindow]]:
    """Group windows of similar length, so that a batch needs little padding.

    Windows are taken in the order of (length, sample, start), whatever order they come in; those
    without tokens are left out. A batch takes at least one window, and as many as keep their count
    times the longest within the budget.

    Args:
        windows: windows of any lengths.
        token_budget: most tokens in a batch, padding included.

    Raises:
        GatehouseError: the budget is below 1.
    """
    if token_budget < 1:
        raise GatehouseError(f"the token budget is {token_budget}: ask for at least 1 token")
    batch: list[TokenWindow] = []
    filled = (window for window in windows if window.token_ids)
    for window in sorted(filled, key=_length_then_place):
        # the newest window is the longest, so its length is what the batch is padded to
        if batch and (len(batch) + 1) * len(window.token_ids) > token_budget:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _length_then_place(window: TokenWindow) -> tuple[int, int, int]:
    return len(window.token_ids), window.sample_id, window.start
