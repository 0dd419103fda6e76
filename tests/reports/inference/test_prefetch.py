"""Predictions of experts: by their laws, and against counts in plain Python."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.reports.inference.prefetch import by_keys, by_layer_before, same_again

EXPERTS = 5


@st.composite
def texts(draw, shortest=1):
    """(tokens, 2) distinct experts, and (tokens,) keys."""
    token = st.permutations(range(EXPERTS)).map(lambda order: order[:2])
    experts = draw(st.lists(token, min_size=shortest, max_size=20))
    keys = draw(st.lists(st.integers(0, 3), min_size=len(experts), max_size=len(experts)))
    return np.array(experts).reshape(-1, 2), np.array(keys, int)


@given(texts(), st.integers(1, 30))
def test_an_earlier_token_is_looked_up_in_its_own_text(text, horizon):
    experts, _ = text
    positions = np.arange(len(experts)) % 7  # texts of seven tokens
    ranks = same_again(experts, positions, horizon, EXPERTS)
    for now, row in enumerate(experts):
        known = experts[now - horizon].tolist() if positions[now] >= horizon else []
        assert ranks[now].tolist() == [
            known.index(expert) if expert in known else EXPERTS for expert in row
        ]


@given(texts(), texts())
def test_tokens_are_told_by_their_keys_then_by_all_text(learned, asked):
    everywhere = Counter(learned[0].ravel().tolist())
    ranks = by_keys(learned[0], asked[0], [(learned[1], asked[1])], EXPERTS)
    for row, key, found in zip(*asked, ranks):
        of_key = Counter(learned[0][learned[1] == key].ravel().tolist())
        order = sorted(range(EXPERTS), key=lambda each: (-of_key[each], -everywhere[each], each))
        assert found.tolist() == [order.index(expert) for expert in row]


@given(texts(), texts())
def test_without_a_key_all_tokens_get_the_experts_used_most(learned, asked):
    everywhere = Counter(learned[0].ravel().tolist())
    order = sorted(range(EXPERTS), key=lambda each: (-everywhere[each], each))
    ranks = by_keys(learned[0], asked[0], [], EXPERTS)
    assert ranks.tolist() == [[order.index(expert) for expert in row] for row in asked[0]]


@settings(max_examples=25)
@given(texts(shortest=3))
def test_a_layer_that_repeats_the_one_before_is_foretold(text):
    """Every expert here goes with the same one there, so that the token's own two come first."""
    experts, _ = text
    before = (experts + 1) % EXPERTS
    learned = np.array([[one, other] for one in range(EXPERTS) for other in range(one)])
    ranks = by_layer_before(learned, experts, ((learned + 1) % EXPERTS, before), EXPERTS)
    assert sorted(ranks.max(axis=1).tolist()) == [1] * len(experts)


@pytest.mark.filterwarnings("error")
def test_experts_of_wide_routers_are_counted_as_they_are_stored():
    """The lake has them as 16-bit numbers, which 512 by 512 exceeds."""
    experts = np.random.default_rng(0).integers(0, 512, (200, 2))
    learned, asked = experts[:100], experts[100:]
    kept, wanted = learned.astype(np.uint16), asked.astype(np.uint16)
    keys = kept[:, 0], wanted[:, 0]
    for found, expected in (
        (
            by_layer_before(kept, wanted, (kept, wanted), 512),
            by_layer_before(learned, asked, (learned, asked), 512),
        ),
        (by_keys(kept, wanted, [keys], 512), by_keys(learned, asked, [keys], 512)),
    ):
        assert found.tolist() == expected.tolist()


def test_experts_that_were_never_seen_before_are_ranked_by_number():
    learned, asked = np.array([[0, 1]]), np.array([[3, 2]])
    assert by_layer_before(
        learned, asked, (np.array([[0]]), np.array([[4]])), EXPERTS
    ).tolist() == [[3, 2]]


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_of_a_random_router_nothing_is_foretold(top_k):
    random = np.random.default_rng(0)
    experts, tokens = 16, 20_000
    chosen = random.permuted(np.tile(np.arange(experts), (2 * tokens, 1)), axis=1)[:, :top_k]
    learned, asked = chosen[:tokens], chosen[tokens:]
    keys = random.integers(0, 50, tokens), random.integers(0, 50, tokens)
    for ranks in (
        same_again(asked, np.arange(tokens), 1, experts),
        by_keys(learned, asked, [keys], experts),
        by_layer_before(learned, asked, (asked, learned), experts),
    ):
        assert (ranks < top_k).mean() == pytest.approx(top_k / experts, abs=0.01)
