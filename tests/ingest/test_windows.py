"""Token windows and batches: laws that hold for any tokens."""

from array import array
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.ingest import windows
from gatehouse.ingest.windows import batches, tokenize
from gatehouse.warehouse.records import SAMPLES, Sample, TokenWindow

TOKENS = st.lists(st.lists(st.integers(0, 9), max_size=40), max_size=12)
LENGTH = st.integers(1, 17)
BUDGET = st.integers(1, 120)
quick = settings(max_examples=60)


def made_up_sample(sample_id: int, text: str, digest: str = "") -> Sample:
    return Sample(sample_id, f"name {sample_id}", "domain", "whole", "train", text, digest, "hash")


def arrays(encoded: Iterable[list[int]]) -> list[array]:
    """Return token ids as a tokenizer's encodings give them."""
    return [array("i", token_ids) for token_ids in encoded]


def samples_of(encoded: list[list[int]]) -> list[Sample]:
    return [
        made_up_sample(100 + index, f"text {index}", f"{index:064x}")
        for index in range(len(encoded))
    ]


def windows_of(lengths: list[int]) -> list[TokenWindow]:
    return [
        TokenWindow(index // 2, index % 2, [7] * length) for index, length in enumerate(lengths)
    ]


@quick
@given(TOKENS, LENGTH)
def test_windows_put_together_are_the_sample(encoded: list[list[int]], max_length: int) -> None:
    samples = samples_of(encoded)
    cut, table = tokenize(
        samples, lambda texts: arrays(encoded), max_length=max_length, windows=True
    )
    for sample, token_ids in zip(samples, encoded, strict=True):
        own = [window for window in cut if window.sample_id == sample.sample_id]
        assert [token for window in own for token in window.token_ids] == token_ids
        assert [window.start for window in own] == list(range(0, len(token_ids), max_length))
        assert all(len(window.token_ids) == max_length for window in own[:-1])
        assert all(window.token_ids for window in own)
    assert table["tokens"].to_pylist() == [len(token_ids) for token_ids in encoded]
    assert table["dropped_tokens"].to_pylist() == [0] * len(encoded)


@quick
@given(TOKENS, LENGTH)
def test_without_windows_the_beginning_stays_and_the_rest_is_counted(
    encoded: list[list[int]], max_length: int
) -> None:
    samples = samples_of(encoded)
    cut, table = tokenize(
        samples, lambda texts: arrays(encoded), max_length=max_length, windows=False
    )
    expected = [
        TokenWindow(sample.sample_id, 0, array("i", token_ids[:max_length]))
        for sample, token_ids in zip(samples, encoded, strict=True)
        if token_ids
    ]
    assert cut == expected
    landed = table["tokens"].to_pylist()
    dropped = table["dropped_tokens"].to_pylist()
    assert sum(landed) == sum(len(window.token_ids) for window in cut)
    assert [a + b for a, b in zip(landed, dropped, strict=True)] == list(map(len, encoded))


@quick
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_no_more_is_encoded_at_once_than_memory_allows(lengths: list[int]) -> None:
    calls: list[list[int]] = []

    def encode(texts: list[str]) -> list[array]:
        calls.append([len(text) for text in texts])
        return arrays([len(text)] for text in texts)

    samples = [made_up_sample(index, "x" * n) for index, n in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "ENCODED_CHARACTERS", 40)
        cut, _ = tokenize(samples, encode, max_length=1, windows=False)
    assert [list(window.token_ids) for window in cut] == [[length] for length in lengths]
    assert all(sum(call) <= 40 and call for call in calls)
    # as few calls as that allows: what a call leaves out would not have fitted
    assert all(sum(call) + after[0] > 40 for call, after in pairwise(calls))
    tokenize([made_up_sample(0, "x" * 50)], encode, max_length=1, windows=False)
    assert calls[-1] == [50]


def test_the_table_names_every_sample_in_the_lakes_schema() -> None:
    samples = samples_of([[1, 2, 3], []])
    cut, table = tokenize(
        samples,
        lambda texts: arrays([len(text)] * 3 for text in texts),
        max_length=2,
        windows=False,
    )
    assert table.schema.equals(SAMPLES)
    for sample, row in zip(samples, table.to_pylist(), strict=True):
        known = vars(sample).keys() - {"text", "is_chat"}
        assert {name: row[name] for name in known} == {name: vars(sample)[name] for name in known}
    # the texts reach the tokenizer in order: each token here is its text's length
    assert [list(window.token_ids) for window in cut] == [[6, 6], [6, 6]]


def test_no_samples_make_no_windows_and_an_empty_table() -> None:
    cut, table = tokenize([], lambda texts: [], max_length=4, windows=True)
    assert cut == []
    assert table.num_rows == 0
    assert table.schema.equals(SAMPLES)


def test_an_encoder_that_loses_a_text_is_not_believed() -> None:
    with pytest.raises(ValueError):
        tokenize(samples_of([[1], [2]]), lambda texts: arrays([[1]]), max_length=4, windows=True)


def test_a_million_tokens_make_one_window_each_512(refuses) -> None:
    samples = samples_of([[0]])
    cut, _ = tokenize(
        samples, lambda texts: arrays([[3] * 1_000_000]), max_length=512, windows=True
    )
    assert len(cut) == -(-1_000_000 // 512)
    with refuses("max_length", "at least 1"):
        tokenize(samples, lambda texts: arrays([[3]]), max_length=0, windows=True)


@quick
@given(st.lists(st.integers(0, 50), max_size=60), BUDGET)
def test_batches_hold_every_window_once_within_the_budget(lengths: list[int], budget: int) -> None:
    windows = windows_of(lengths)
    found = list(batches(windows, token_budget=budget))
    place = [(window.sample_id, window.start) for batch in found for window in batch]
    assert sorted(place) == [(w.sample_id, w.start) for w in windows if w.token_ids]
    for batch in found:
        padded = len(batch) * max(len(window.token_ids) for window in batch)
        assert len(batch) == 1 or padded <= budget
        assert batch


@quick
@given(st.lists(st.integers(0, 50), max_size=60), BUDGET)
def test_lengths_grow_and_no_batch_could_take_the_next_window(
    lengths: list[int], budget: int
) -> None:
    found = list(batches(windows_of(lengths), token_budget=budget))
    order = [len(window.token_ids) for batch in found for window in batch]
    assert order == sorted(length for length in lengths if length)
    for batch, following in pairwise(found):
        assert (len(batch) + 1) * len(following[0].token_ids) > budget


@quick
@given(st.lists(st.integers(0, 20), max_size=30), BUDGET, st.randoms(use_true_random=False))
def test_batches_do_not_depend_on_the_order_of_the_windows(lengths, budget, random) -> None:
    windows = windows_of(lengths)
    shuffled = random.sample(windows, len(windows))
    assert list(batches(shuffled, token_budget=budget)) == list(
        batches(windows, token_budget=budget)
    )


@quick
@given(st.lists(st.integers(1, 512), min_size=1, max_size=200))
def test_padding_is_bounded_by_how_much_the_lengths_spread(lengths: list[int]) -> None:
    """A batch pads each window by its spread at most, and sorted spreads do not overlap."""
    found = list(batches(windows_of(lengths), token_budget=4096))
    padding = sum(
        len(batch) * len(batch[-1].token_ids) - sum(len(window.token_ids) for window in batch)
        for batch in found
    )
    spreads = [len(batch[-1].token_ids) - len(batch[0].token_ids) for batch in found]
    assert padding <= max(map(len, found)) * sum(spreads)
    assert sum(spreads) <= max(lengths) - min(lengths)


def test_a_budget_of_nothing_is_refused(refuses) -> None:
    with refuses("budget", "at least 1"):
        list(batches([], token_budget=0))
