"""Rows of a router that mostly follows the token, put beside the wrong tokens."""

from dataclasses import fields

import numpy as np
import pytest

from gatehouse.ingest.traces.laws.alignment import AS_THEY_ARE, alignment
from gatehouse.ingest.traces.laws.fitted import Fitted, fitted
from gatehouse.ingest.traces.laws.order import Order
from tests.ingest.traces.made_up_routing import ALL_MOE, BLOCKS, EXPERTS, TOP_K, choices, routed

WINDOWS, LENGTH, VOCABULARY = 16, 128, 200


@pytest.fixture(scope="module")
def windows() -> list[Fitted]:
    """Sequences of one length, whose tokens follow the last one, as their experts may do."""
    generator = np.random.default_rng(4)
    usual = choices(VOCABULARY)
    ids = np.zeros((WINDOWS, LENGTH), int)
    for place in range(1, LENGTH):
        follows = (ids[:, place - 1] * 7 + 1) % VOCABULARY
        other = generator.integers(VOCABULARY, size=WINDOWS)
        ids[:, place] = np.where(generator.random(WINDOWS) < 0.5, follows, other)
    experts = usual[ids]
    # the deeper a layer, the less it is the token that tells
    by_chance = generator.random(experts.shape[:3]) < np.linspace(0.05, 0.7, BLOCKS)
    others = choices(WINDOWS * LENGTH).reshape(experts.shape)
    experts = np.where(by_chance[..., None], others, experts)
    weights = np.tile(np.arange(TOP_K, 0.0, -1), (LENGTH, BLOCKS, 1))
    return [
        fitted(routed(rows, token_ids=tokens, weights=weights, prompt_tokens=100), ALL_MOE)
        for tokens, rows in zip(ids, experts, strict=True)
    ]


def with_rows(windows: list[Fitted], rows: np.ndarray) -> list[Fitted]:
    """Return the sequences with the experts of some rows of all of them."""
    experts = np.concatenate([window.experts for window in windows])[rows]
    values = [
        {field.name: getattr(window, field.name) for field in fields(window)} for window in windows
    ]
    pieces = np.split(experts, len(windows))
    return [
        Fitted(**value | {"experts": piece}) for value, piece in zip(values, pieces, strict=True)
    ]


def every_row() -> np.ndarray:
    return np.arange(WINDOWS * LENGTH).reshape(WINDOWS, LENGTH)


def test_rows_beside_their_tokens_stay(windows):
    found = alignment(windows, batch_sizes=(4, 8))
    assert (found.order, found.is_tested) == (AS_THEY_ARE, True)
    assert found.order.applied(windows) == windows
    for words in ("stand beside their tokens as they are", "batches of 8 0.", "random order 0."):
        assert words in found.sentence


@pytest.mark.parametrize("shift", [1, -1])
def test_rows_of_the_neighbour_are_put_back(windows, shift):
    moved = with_rows(windows, np.roll(every_row(), -shift, axis=1).ravel())
    found = alignment(moved, batch_sizes=(4,))
    assert found.order.shift == shift and "shifted" in found.sentence
    kept = slice(1, None) if shift == 1 else slice(None, -1)
    for mended, right in zip(found.order.applied(moved), windows, strict=True):
        np.testing.assert_array_equal(mended.token_ids, right.token_ids[kept])
        np.testing.assert_array_equal(mended.experts, right.experts[kept])
        assert mended.weights.shape == mended.experts.shape
        assert mended.prompt_tokens == (99 if shift == 1 else 100)


@pytest.mark.parametrize("batch", [4, 8])
def test_rows_of_a_transposed_batch_are_put_back(windows, batch):
    # FLAME: tokens [batch, sequence], routing [sequence, batch]
    rows = every_row().reshape(-1, batch, LENGTH).swapaxes(1, 2).ravel()
    moved = with_rows(windows, rows)
    found = alignment(moved, batch_sizes=(4, 8))
    assert found.order.batch == batch
    for mended, right in zip(found.order.applied(moved), windows, strict=True):
        np.testing.assert_array_equal(mended.experts, right.experts)
        np.testing.assert_array_equal(mended.token_ids, right.token_ids)


def test_an_order_that_is_not_known_is_refused_with_the_scores(windows, refuses):
    transposed = every_row().reshape(-1, 8, LENGTH).swapaxes(1, 2).ravel()
    shuffled = np.random.default_rng(2).permutation(WINDOWS * LENGTH)
    for rows in (transposed, shuffled, np.roll(every_row(), 2, axis=1).ravel()):
        with refuses("as they are 0.", "in random order 0.", "without token ids"):
            alignment(with_rows(windows, rows), batch_sizes=(4,))


def test_layers_that_do_not_follow_the_token_tell_nothing(windows, refuses):
    others = choices(WINDOWS * LENGTH).reshape(WINDOWS, LENGTH, BLOCKS, TOP_K)
    ids = np.random.default_rng(0).integers(VOCABULARY, size=(WINDOWS, LENGTH))
    with refuses("do not clearly stand beside their tokens"):
        alignment(
            [
                fitted(routed(rows, token_ids=tokens), ALL_MOE)
                for rows, tokens in zip(others, ids, strict=True)
            ]
        )


def test_too_few_tokens_are_said_to_tell_nothing(windows):
    unknown = fitted(routed(choices(20), token_ids=None), ALL_MOE)
    for few in (windows[:1], [unknown], []):
        found = alignment(few)
        assert (found.order, found.is_tested) == (AS_THEY_ARE, False)
        assert "cannot be tested: 50 tokens would have to occur 5 times" in found.sentence


def test_a_batch_that_is_cut_off_is_refused(windows, refuses):
    with refuses("no batch of 8 sequences"):
        Order("taking turns", batch=8).applied(windows[:7])


def test_a_shifted_sequence_of_one_row_has_none_left(windows):
    one = fitted(routed(choices(1, experts=EXPERTS)), ALL_MOE)
    assert len(Order("shifted", shift=1).applied([one, windows[0]])) == 1
