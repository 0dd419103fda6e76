"""Hit rates by size: sums, intervals and advice on texts whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.inference.cache_curve import LEAST_DOCUMENTS, cache_curves, cliff

SIZES = (1, 2, 3, 4)


def frame(rates: dict[str, tuple], documents: int = 20, spread: int = 0, phase="prompt"):
    """Documents of 1,000 accesses and more; their hits differ by `spread` to both sides."""
    rows = []
    for policy, by_size in rates.items():
        for number in range(documents):
            accesses = 1000 + 10 * number
            for slots, rate in zip(SIZES, by_size):
                off = spread if number % 2 else -spread
                rows.append((f"d{number}", phase, policy, slots, accesses, rate * accesses + off))
    return pd.DataFrame(
        rows, columns=["document", "phase", "policy", "slots", "accesses", "hits"]
    ).assign(domain="a", hits_in_domain=np.nan)


def test_rates_are_of_all_accesses_and_the_interval_holds_them():
    documents = frame({"lru": (0.1, 0.4, 0.6, 0.9)}, spread=50)
    (curves,) = cache_curves(documents, 4)
    for place, slots in enumerate(SIZES):
        of_size = documents[documents["slots"] == slots]
        rate = curves.rate("lru", place)
        assert rate.rate == pytest.approx(of_size["hits"].sum() / of_size["accesses"].sum())
        assert rate.low < rate.rate < rate.high
        # twenty documents that differ by 0.05 to both sides: about 2 x 0.05 / sqrt(20)
        assert rate.high - rate.low == pytest.approx(4 * 0.046 / np.sqrt(20), rel=0.25)


def test_the_band_is_the_interval_at_every_size():
    (curves,) = cache_curves(frame({"lru": (0.1, 0.4, 0.6, 0.9)}, spread=50), 4)
    low, high = curves.band("lru")
    for place in range(len(SIZES)):
        assert (low[place], high[place]) == (
            curves.rate("lru", place).low,
            curves.rate("lru", place).high,
        )


def test_few_documents_have_no_interval():
    (curves,) = cache_curves(frame({"lru": (0.1, 0.4, 0.6, 0.9)}, LEAST_DOCUMENTS - 1), 4)
    assert curves.band("lru") is None
    assert (curves.rate("lru", 0).low, curves.rate("lru", 0).high) == (None, None)


def test_a_policy_is_ahead_by_the_difference_in_the_same_documents():
    """Each document's rates differ a lot, and the policies by the same in all of them."""
    rates = {"lru": (0.2, 0.5, 0.7, 0.9), "lfu": (0.2, 0.45, 0.7, 0.9)}
    (curves,) = cache_curves(frame(rates, spread=100), 4)
    ahead = curves.ahead("lru", "lfu", 1)
    assert ahead.low == pytest.approx(0.05) == ahead.high
    assert curves.best(["lfu", "lru"], 1) == "lru"


def test_policies_that_serve_other_documents_are_not_compared():
    both = pd.concat([frame({"lru": (0.1,) * 4}), frame({"static_prompt": (0.2,) * 4}, 10)])
    (curves,) = cache_curves(both, 4)
    assert curves.ahead("lru", "static_prompt", 0) is None


def test_the_most_telling_size_is_where_most_is_gained_over_chance():
    (curves,) = cache_curves(frame({"lru": (0.2, 0.5, 0.99, 1.0), "belady": (0.9,) * 4}), 4)
    assert SIZES[curves.most_telling] == 3
    assert [curves.chance(place) for place in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_a_size_between_two_is_the_smaller():
    documents = frame({"lru": (0.1, 0.2, 0.3, 0.4)})
    documents["slots"] *= 4
    (curves,) = cache_curves(documents, 16)
    assert [curves.place_of(slots) for slots in (1, 4, 7, 8, 16, 99)] == [0, 0, 0, 1, 3, 3]


def test_phases_are_curves_of_their_own():
    both = pd.concat([frame({"lru": (0.1,) * 4}), frame({"lru": (0.3,) * 4}, phase="generated")])
    assert [(each.phase, each.rate("lru", 0).rate) for each in cache_curves(both, 4)] == [
        ("prompt", pytest.approx(0.1)),
        ("generated", pytest.approx(0.3)),
    ]


@pytest.mark.parametrize(
    ("hit_rates", "expected"),
    [
        ((0.0, 0.0, 0.8, 1.0), 30),
        ((0.3, 0.6, 0.8, 1.0), 10),
        ((0.0, 0.1, 0.2, 1.0), None),
        ((0.0, 0.0, 0.0, 0.0), None),
    ],
)
def test_the_cliff_is_where_lru_first_does_as_well_as_chance(hit_rates, expected):
    shared = pd.DataFrame({"slots": [10, 20, 30, 40], "hit_rate": hit_rates}).assign(
        policy="lru", hits=lambda each: 100 * each["hit_rate"], chance_hit_rate=[0.25, 0.5, 0.75, 1]
    )
    assert cliff(shared) == expected
