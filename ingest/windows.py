"""From samples to token windows, and from windows to batches with little padding."""

from array import array
from collections.abc import Callable, Iterator

import pyarrow as pa

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import SAMPLES, Sample, TokenWindow

Encode = Callable[[list[str]], list["array[int]"]]

ENCODED_CHARACTERS = 1_000_000
"""Most characters of several texts to encode at once: a tokenizer keeps some 50 bytes for each."""


def tokenize(
    samples: list[Sample],
    encode: Encode,
    *,
    max_length: int,
    windows: bool,
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

    Returns:
        The windows in the order of (sample, start), none for a sample without tokens; and one row
        a sample, schema SAMPLES: tokens in its windows, tokens dropped.

    Raises:
        GatehouseError: `max_length` is below 1.
        ValueError: `encode` does not return one list per text.
    """
    if max_length < 1:
        raise GatehouseError(f"max_length is {max_length}: ask for at least 1 token")
    cut: list[TokenWindow] = []
    rows = []
    for sample, token_ids in _encoded(samples, encode):
        landed = len(token_ids) if windows else min(len(token_ids), max_length)
        # a view of all of a long text's tokens, not a copy
        view = memoryview(token_ids if windows else token_ids[:landed])
        for start in range(0, landed, max_length):
            cut.append(TokenWindow(sample.sample_id, start, view[start : start + max_length]))
        rows.append(_row(sample, landed, len(token_ids) - landed))
    return cut, pa.Table.from_pylist(rows, schema=SAMPLES)


def _encoded(samples: list[Sample], encode: Encode) -> Iterator[tuple[Sample, "array[int]"]]:
    start = characters = 0
    for end, sample in enumerate(samples):
        if end > start and characters + len(sample.text) > ENCODED_CHARACTERS:
            yield from _together(samples[start:end], encode)
            start, characters = end, 0
        characters += len(sample.text)
    yield from _together(samples[start:], encode)


def _together(samples: list[Sample], encode: Encode) -> Iterator[tuple[Sample, "array[int]"]]:
    yield from zip(samples, encode([sample.text for sample in samples]), strict=True)


def _row(sample: Sample, tokens: int, dropped_tokens: int) -> dict[str, object]:
    return {
        "sample_id": sample.sample_id,
        "name": sample.name,
        "domain": sample.domain,
        "document": sample.document,
        "split": sample.split,
        "tokens": tokens,
        "dropped_tokens": dropped_tokens,
        "text_sha256": sample.text_sha256,
        "document_sha256": sample.document_sha256,
        "prompt_tokens": tokens,
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
