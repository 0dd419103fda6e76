"""What placements are worth: their balance on each part of the text, and the advice."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from gatehouse.reports.inference import contiguous
from gatehouse.reports.inference.placements import (
    Balance,
    Measured,
    placements,
    usual_gpus,
    windowed_loads,
)
from gatehouse.warehouse.errors import GatehouseError

SPLITS = ("train", "validation", "test")


def frame_of(counts: np.ndarray) -> pd.DataFrame:
    """Return the rows of (splits, windows, layers, experts) selections, none for what is 0."""
    splits, windows, layers, experts = np.nonzero(counts)
    return pd.DataFrame(
        {
            "moe_index": layers,
            "load_window": windows,
            "split": np.array(SPLITS)[splits],
            "expert": experts,
            "selections": counts[splits, windows, layers, experts],
        }
    )


@pytest.fixture
def counts() -> np.ndarray:
    """Selections of three splits, 5 windows, 4 layers and 12 experts, some of them never."""
    random = np.random.default_rng(3)
    busy = random.gamma(0.6, 40, size=(4, 12)).astype(int)
    return random.poisson(busy, size=(3, 5, 4, 12)) * random.integers(0, 2, size=(3, 5, 1, 1))


def by_hand(experts: list[int], gpus: int, loads: np.ndarray) -> np.ndarray:
    """Return the load of each GPU: that of its experts, each divided by its places."""
    size = len(experts) // gpus
    found = []
    for gpu in range(gpus):
        here = experts[gpu * size : (gpu + 1) * size]
        found.append(sum(loads[expert] / experts.count(expert) for expert in here))
    return np.array(found)


def test_loads_are_those_of_the_splits_and_windows(counts):
    loads = windowed_loads(frame_of(counts), 4, 12)
    assert loads.by_train
    np.testing.assert_array_equal(loads.learned, counts[0].sum(axis=0))
    np.testing.assert_array_equal(loads.held_out, counts[1:].sum(axis=(0, 1)))
    np.testing.assert_array_equal(loads.windows, counts.sum(axis=0))


def test_balance_is_that_of_the_busiest_gpu(counts):
    loads = windowed_loads(frame_of(counts), 4, 12)
    found = placements(loads, gpus=4, redundant=4)
    np.testing.assert_array_equal(found.placement.experts, _eplb(loads.learned))
    texts = (loads.learned, found.eplb.learned), (loads.held_out, found.eplb.held_out)
    for selections, balance in texts:
        rows = zip(found.placement.experts.tolist(), selections)
        of_gpus = np.array([by_hand(experts, 4, of) for experts, of in rows])
        np.testing.assert_allclose(balance.layers, of_gpus.mean(axis=1) / of_gpus.max(axis=1))
        assert balance.worst == balance.layers.min()
        # layers come one after the other, each as long as its busiest GPU
        assert balance.overall == pytest.approx(of_gpus.mean(axis=1).sum() / of_gpus.max(1).sum())
    order = contiguous(4, 12, 16, 4)
    for each, selections in zip(found.contiguous.windows, loads.windows):
        of_gpus = order.gpu_loads(selections)
        assert each == pytest.approx(of_gpus.mean(axis=1).sum() / of_gpus.max(axis=1).sum())
    assert found.eplb.learned.overall > found.random.learned.overall
    for measured in (found.eplb, found.contiguous, found.random):
        assert ((measured.windows >= 0.25) & (measured.windows <= 1)).all()


def _eplb(loads: np.ndarray) -> np.ndarray:
    from gatehouse.reports.inference import balanced

    return balanced(loads, 16, 4).experts


def test_without_a_train_split_all_text_is_learned_from(counts):
    counts[0] = 0
    loads = windowed_loads(frame_of(counts), 4, 12)
    assert not loads.by_train and loads.held_out is None
    np.testing.assert_array_equal(loads.learned, counts.sum(axis=(0, 1)))
    assert placements(loads, 4).random.held_out is None


def test_without_held_out_text_the_advice_says_so(counts):
    counts[1:] = 0
    loads = windowed_loads(frame_of(counts), 4, 12)
    assert loads.by_train and loads.held_out is None
    assert (
        "on the text it learned from, as no other is there, it uses" in placements(loads, 4).advice
    )


def test_counts_tell_of_no_part_of_the_text(counts):
    frame = frame_of(counts[:1, :1]).assign(split=None, load_window=np.nan)
    loads = windowed_loads(frame, 4, 12)
    assert not loads.by_train and loads.held_out is None and loads.windows.shape == (0, 4, 12)
    np.testing.assert_array_equal(loads.learned, counts[0, 0])
    found = placements(loads, 4)
    assert found.eplb.windows.shape == found.random.windows.shape == (0,)
    assert "windows" not in found.advice


def advised(eplb: float, order: float, windows: tuple[float, ...], counts: np.ndarray) -> str:
    """Return the advice if all layers and texts had these balances."""

    def measured(overall: float, by_window: tuple[float, ...]) -> Measured:
        balance = Balance(np.full(4, overall), overall)
        return Measured(balance, balance, np.array(by_window))

    found = placements(windowed_loads(frame_of(counts), 4, 12), 4)
    theirs = measured(order, (order,) * len(windows))
    return dataclasses.replace(found, eplb=measured(eplb, windows), contiguous=theirs).advice


def test_the_advice_follows_from_the_numbers(counts):
    assert advised(0.9, 0.6, (0.9, 0.8, 0.7), counts) == (
        "Place the experts by EPLB: on held-out text it uses 90.0% of the GPUs' time, and the "
        "order of their numbers 60.0%; 1.50 times as fast, if a layer takes as long as its busiest "
        "GPU, and better in 3 of 3 windows of all text."
    )
    drifting = advised(0.9, 0.6, (0.9, 0.5, 0.5), counts)
    assert drifting.startswith("Place the experts by EPLB, and again as the text changes: ")
    assert drifting.endswith("but it is better in 1 of 3 windows of all text only.")
    for worse in (0.6, 0.605, 0.5):
        assert advised(worse, 0.6, (0.9,), counts).startswith("Leave the experts in the order")


def test_where_nothing_can_be_balanced_the_advice_says_why(counts):
    loads = windowed_loads(frame_of(counts), 4, 12)
    assert placements(loads, 1).advice == "One GPU holds all experts: there is nothing to balance."
    same = placements(loads, 12)
    assert "every placement is the same: only replicas (--redundant)" in same.advice
    assert same.eplb.learned.overall == pytest.approx(same.random.learned.overall)
    assert "the same" not in placements(loads, 12, redundant=12).advice


@pytest.mark.parametrize(
    ("experts", "gpus"), [(256, 8), (60, 6), (8, 4), (4, 2), (2, 1), (7, 1), (1, 1), (12, 6)]
)
def test_usual_gpus_share_the_experts(experts, gpus):
    assert usual_gpus(experts) == gpus


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"gpus": 5},
            "5 GPUs cannot share 12 experts and 0 replicas equally: make it --redundant ",
        ),
        ({"gpus": 8, "redundant": 2}, "make it --redundant 4, or give --gpus that divide 14"),
        ({"gpus": 0}, "--gpus 0: give 1 or more"),
        ({"gpus": 4, "redundant": -4}, "--redundant -4: give 0 or more"),
        ({"gpus": 10**9}, "make 1,000,000,000 places of a layer: give numbers that make 10,000 or"),
        ({"gpus": 2, "redundant": 10**8}, "make 100,000,012 places of a layer"),
    ],
)
def test_numbers_that_do_not_divide_are_refused_and_the_way_out_works(counts, asked, message):
    loads = windowed_loads(frame_of(counts), 4, 12)
    with pytest.raises(GatehouseError, match=message) as refused:
        placements(loads, **asked)
    if found := re.search(r"make it --redundant (\d+)", str(refused.value)):
        placements(loads, **asked | {"redundant": int(found[1])})
