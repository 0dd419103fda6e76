"""Chance against brute force, exact at one occurrence, and free of frequency when held out."""

import itertools
import math

import numpy as np
import pytest

from gatehouse.reports.statistics import (
    UnbiasedConsistency,
    random_consistency,
    random_specialisation,
    unbiased_consistency,
)

FREQUENCIES = np.array([1, 2, 3, 7, 40, 64, 65, 100, 500])


def loads(experts: int) -> np.ndarray:
    return np.random.default_rng(experts).dirichlet(np.full(experts, 3.0))


@pytest.mark.parametrize("experts", [4, 64, 256])
def test_random_consistency_equals_brute_force(experts):
    load = loads(experts)
    random = np.random.default_rng(0)
    for frequency, found in zip(FREQUENCIES, random_consistency(FREQUENCIES, 7 * load)):
        largest = random.multinomial(frequency, load, 4_000).max(axis=1) / frequency
        tolerance = 4 * largest.std() / math.sqrt(4_000) + 0.01 * found
        assert found == pytest.approx(largest.mean(), abs=tolerance)


def test_random_consistency_of_few_occurrences_is_the_sum_over_all_outcomes():
    load = np.array([0.5, 0.3, 0.2, 0.0])
    found = random_consistency(np.arange(1, 7), load)
    for frequency, share in enumerate(found, 1):
        outcomes = itertools.product(range(4), repeat=frequency)
        expected = sum(
            math.prod(load[list(outcome)]) * max(map(outcome.count, outcome)) / frequency
            for outcome in outcomes
        )
        assert share == pytest.approx(expected, abs=1e-12)


def test_one_occurrence_is_always_consistent_and_many_are_as_the_load():
    for found in (
        random_consistency(np.array([1, 10**7]), loads(8)),
        random_specialisation(np.array([1, 10**7]), loads(8), 1),
    ):
        assert found == pytest.approx([1, loads(8).max()], rel=0.002)
    assert random_consistency(np.array([5, 10**6]), np.array([0, 1, 0])).tolist() == [1, 1]


def test_the_same_frequency_has_the_same_value_and_more_occurrences_a_smaller_one():
    frequency = np.random.default_rng(1).integers(1, 3_000, 500)
    found = random_consistency(frequency, loads(16), seed=3)
    order = np.argsort(frequency, kind="stable")
    assert (np.diff(found[order])[np.diff(frequency[order]) == 0] == 0).all()
    assert (np.diff(found[order]) <= 0.003).all()
    assert (found == random_consistency(frequency, loads(16), seed=3)).all()


def brute_specialisation(frequency: int, weights: np.ndarray, top_k: int) -> tuple:
    """Successive sampling (Gumbel top-k): the modal share, and how often each is selected."""
    random = np.random.default_rng(2)
    keys = np.log(weights) + random.gumbel(size=(40_000 // frequency, frequency, weights.size))
    chosen = np.zeros(keys.shape, bool)
    np.put_along_axis(chosen, np.argsort(-keys)[..., :top_k], True, axis=-1)
    return chosen.sum(axis=1).max(axis=1).mean() / frequency, chosen.mean(axis=(0, 1))


@pytest.mark.parametrize(("experts", "top_k"), [(8, 2), (32, 4)])
@pytest.mark.parametrize("frequency", [1, 2, 5, 30, 80])
def test_random_specialisation_equals_successive_sampling_with_the_same_shares(
    experts, top_k, frequency
):
    expected, shares = brute_specialisation(frequency, loads(experts), top_k)
    (found,) = random_specialisation(np.array([frequency]), shares, top_k)
    assert found == pytest.approx(expected, rel=0.015)


def test_specialisation_with_one_expert_is_consistency():
    frequency = np.array([1, 2, 3, 10, 64, 300])
    one = random_specialisation(frequency, loads(16), 1)
    assert one == pytest.approx(random_consistency(frequency, loads(16)), rel=0.015)


def test_experts_that_are_always_selected_are_always_modal():
    found = random_specialisation(FREQUENCIES, np.array([2, 1, 1, 0]), 2)
    assert found == pytest.approx(np.ones(FREQUENCIES.size))
    assert random_specialisation(FREQUENCIES, np.array([1, 1]), 2) == pytest.approx(
        np.ones(FREQUENCIES.size)
    )


def test_impossible_loads_and_frequencies_are_refused():
    with pytest.raises(ValueError, match="at least once"):
        random_consistency(np.array([0, 2]), loads(4))
    with pytest.raises(ValueError, match="not all zero"):
        random_consistency(np.array([1]), np.zeros(4))
    with pytest.raises(ValueError, match="at least 0"):
        random_consistency(np.array([1]), np.array([2, -1]))
    with pytest.raises(ValueError, match="more than 1/2 of the selections"):
        random_specialisation(np.array([1]), np.array([3, 1, 1]), 2)
    assert random_consistency(np.array([], int), loads(4)).tolist() == []


def halves_of(frequency: np.ndarray, experts: int) -> tuple[np.ndarray, np.ndarray]:
    """A uniform random router: each token's modal share, and that of the other half's expert."""
    random = np.random.default_rng(5)
    chances = np.full(experts, 1 / experts)
    one = random.multinomial(frequency // 2, chances)
    other = random.multinomial(frequency - frequency // 2, chances)
    plain = (one + other).max(axis=1) / frequency
    rows = np.arange(frequency.size)
    with np.errstate(invalid="ignore"):
        across = [
            there[rows, here.argmax(axis=1)] / there.sum(axis=1)
            for here, there in ((one, other), (other, one))
        ]
    return plain, np.where(frequency > 1, np.mean(across, axis=0), np.nan)


@pytest.mark.parametrize("experts", [4, 16])
def test_held_out_consistency_of_a_random_router_is_one_in_experts(experts):
    frequency = np.random.default_rng(0).zipf(1.6, 20_000).clip(max=10_000)
    plain, held_out = halves_of(frequency, experts)
    chance = random_consistency(frequency, np.ones(experts))
    result = unbiased_consistency(frequency, plain, held_out, chance)
    assert result.held_out == pytest.approx(1 / experts, abs=0.01)
    assert result.plain == pytest.approx(result.random, abs=0.005)
    assert result.plain > 1.9 / experts
    assert (result.tokens, result.held_out_tokens) == (20_000, (frequency > 1).sum())
    assert result.occurrence_share == frequency[frequency > 1].sum() / frequency.sum()


def test_without_a_held_out_token_all_is_undefined_with_a_reason():
    once = np.ones(4)
    result = unbiased_consistency(once, once, np.full(4, np.nan), once)
    reason = "no token occurs in both halves"
    assert result == UnbiasedConsistency(None, None, None, 4, 0, 0.0, reason)
