"""Caches of experts against a cache written out in plain Python, and by their laws."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.reports.inference.accesses import Accesses, by_layer, random_router, through_layers
from gatehouse.reports.inference.expert_cache import belady, chance, hits, lfu, lru, static

POLICIES = [lru, lfu, belady]


@st.composite
def streams(draw):
    """Streams of different lengths, one of them empty at times, whose tokens choose few experts."""
    num_experts = draw(st.integers(2, 6))
    top_k = draw(st.integers(1, min(3, num_experts)))
    token = st.permutations(range(num_experts)).map(lambda order: order[:top_k])
    chosen = draw(st.lists(st.lists(token, max_size=12), min_size=1, max_size=4))
    lengths = np.array([len(stream) for stream in chosen])
    # whatever stands after the last token
    experts = np.full((len(chosen), max(1, lengths.max()), top_k), 99)
    for row, stream in zip(experts, chosen):
        row[: len(stream)] = np.reshape(stream, (-1, top_k))
    return Accesses(experts, lengths, num_experts)


def asked(accesses: Accesses) -> list[list[int]]:
    """Return each stream as the list of experts that are asked for."""
    return [
        stream[:length].ravel().tolist()
        for stream, length in zip(accesses.experts, accesses.lengths)
    ]


def rates(accesses: Accesses, policy) -> np.ndarray:
    """Return (slots,) hit rates of all streams together."""
    return hits(accesses, policy(accesses)).sum(axis=0) / max(1, accesses.counts.sum())


def plain_hits(stream: list[int], slots: int, keeps) -> int:
    """Count the hits of a cache; `keeps` gives an expert's worth, and the least goes."""
    cache, found = set(), 0
    for now, expert in enumerate(stream):
        if expert in cache:
            found += 1
        elif slots:
            if len(cache) == slots:
                cache.remove(min(cache, key=lambda other: keeps(stream, now, other)))
            cache.add(expert)
    return found


def last_use(stream, now, expert):
    return max(place for place in range(now) if stream[place] == expert)


def uses_and_last_use(stream, now, expert):
    return stream[:now].count(expert), last_use(stream, now, expert)


def nearness(stream, now, expert):
    rest = stream[now + 1 :]
    return -rest.index(expert) if expert in rest else -len(stream)


def most_hits(stream: list[int], slots: int) -> int:
    """Try every choice of which expert goes."""
    reached = {frozenset(): 0}
    for expert in stream:
        following: Counter = Counter()
        for cache, found in reached.items():
            if expert in cache:
                choices, found = [cache], found + 1
            elif len(cache) < slots:
                choices = [cache | {expert}]
            else:
                choices = [cache - {other} | {expert} for other in cache]
            for choice in choices:
                following[choice] = max(following[choice], found)
        reached = following
    return max(reached.values())


@pytest.mark.parametrize(
    ("policy", "keeps"), [(lru, last_use), (lfu, uses_and_last_use), (belady, nearness)]
)
@given(accesses=streams())
@settings(max_examples=60)
def test_a_cache_of_every_size_is_one_in_plain_python(policy, keeps, accesses):
    found = hits(accesses, policy(accesses))
    for row, stream in zip(found, asked(accesses)):
        assert row.tolist() == [
            plain_hits(stream, slots, keeps) for slots in range(accesses.num_experts + 1)
        ]


@given(accesses=streams())
@settings(max_examples=60)
def test_belady_is_the_best_of_all_choices(accesses):
    found = hits(accesses, belady(accesses))
    for row, stream in zip(found, asked(accesses)):
        for slots in range(1, accesses.num_experts + 1):
            assert row[slots] == most_hits(stream, slots)
    for policy in (lru, lfu):
        assert (hits(accesses, policy(accesses)) <= found).all()


@given(accesses=streams())
@settings(max_examples=60)
def test_all_slots_miss_only_first_uses(accesses):
    first = [len(set(stream)) for stream in asked(accesses)]
    for policy in POLICIES:
        found = hits(accesses, policy(accesses))
        assert (np.diff(found) >= 0).all() and not found[:, 0].any()
        assert (accesses.counts - found[:, -1]).tolist() == first


@given(accesses=streams(), data=st.data())
@settings(max_examples=60)
def test_no_profile_is_better_than_the_texts_own(accesses, data):
    own = hits(accesses, static(accesses, accesses.uses))
    others = data.draw(
        st.lists(
            st.integers(0, 9), min_size=accesses.num_experts, max_size=accesses.num_experts
        )
    )  # fmt: skip
    assert (hits(accesses, static(accesses, np.array(others))) <= own).all()
    by_use = -np.sort(-accesses.uses, axis=1)
    assert (own[:, 1:] == np.cumsum(by_use, axis=1)).all()
    assert own[:, -1].tolist() == accesses.counts.tolist()


def test_a_random_router_is_served_by_chance():
    shape = by_layer([np.zeros((2000, 3, 4), int)], num_experts=16)
    accesses = random_router(shape)
    assert (np.diff(np.sort(accesses.experts, axis=2)) > 0).all()
    slots = np.arange(17) / 16
    elsewhere = random_router(shape, seed=1).uses
    np.testing.assert_allclose(
        rates(accesses, lambda asked: static(asked, elsewhere)), slots, atol=0.01
    )
    np.testing.assert_allclose(rates(accesses, lru), chance(16, 4), atol=0.01)
    assert chance(16, 1) == pytest.approx(slots)


def test_one_cache_serves_the_layers_as_they_are_run():
    """By hand: a token asks in layer 0, then in layer 1, whose experts are others."""
    document = np.array([[[0], [1]], [[0], [1]], [[1], [1]]])
    accesses = through_layers([document], num_experts=2)
    assert accesses.experts.ravel().tolist() == [0, 3, 0, 3, 1, 3]
    assert lru(accesses).ravel().tolist() == [4, 4, 1, 1, 4, 1]
    both = by_layer([document, document[:1]], num_experts=2)
    assert asked(both) == [[0, 0, 1], [1, 1, 1], [0], [1]]
    assert both.uses.tolist() == [[2, 1], [0, 3], [1, 0], [0, 1]]


def test_streams_that_do_not_fit_together_are_served_apart(monkeypatch):
    accesses = random_router(by_layer([np.zeros((9, 5, 2), int), np.zeros((4, 5, 2), int)], 8))
    together = [policy(accesses) for policy in POLICIES]
    monkeypatch.setattr("gatehouse.reports.inference.expert_cache.PLACES_AT_ONCE", 3 * 8)
    for policy, found in zip(POLICIES, together):
        np.testing.assert_array_equal(policy(accesses), found)


@pytest.mark.parametrize("num_experts", [255, 256, 300])
def test_many_experts_in_turn(num_experts):
    """LRU has lost each expert when its turn comes, unless all of them fit."""
    turns = np.tile(np.arange(num_experts), 3).reshape(1, -1, 1)
    accesses = Accesses(turns, np.array([turns.size]), num_experts)
    found = hits(accesses, lru(accesses))[0]
    assert not found[:num_experts].any() and found[num_experts] == 2 * num_experts
    assert hits(accesses, lfu(accesses))[0].tolist() == found.tolist()
    # of n slots, one is for what passes through
    assert hits(accesses, belady(accesses))[0][2] >= 2
