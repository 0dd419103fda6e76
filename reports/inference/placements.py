"""What balancing a run's experts over GPUs is worth: on its train split, held out, by window."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gatehouse.reports.inference.placement import (
    Loads,
    Placement,
    balanced,
    contiguous,
    shuffled,
)
from gatehouse.warehouse.errors import GatehouseError

USUAL_GPUS = 8
RANDOM_PLACEMENTS = 16
"""So many random placements are averaged."""

MOST_PLACES = 10_000
"""Of a layer: beyond what any machine has, and placed within seconds."""

WORTH_IT = 1.01
"""A placement that is less than this many times as fast as the order of numbers changes nothing."""


@dataclass(frozen=True)
class WindowedLoads:
    """How often a run's tokens select each expert, by part of its text.

    learned: (layers, experts) of the train split; of all text where `by_train` is false.
    held_out: (layers, experts) of validation and test; None where nothing is held out.
    windows: (windows, layers, experts) of all splits; none where the order of the text is unknown.
    by_train: whether the run has a train split.
    """

    learned: Loads
    held_out: Loads | None
    windows: Loads
    by_train: bool


@dataclass(frozen=True)
class Balance:
    """How evenly GPUs share the work, from 1 / GPUs to 1: mean over highest load of a GPU.

    layers: (layers,) of each layer.
    overall: of all layers, one after the other: Σ mean / Σ highest, the share of the GPUs' time
        that is used if an expert takes as long as it has tokens.
    """

    layers: NDArray[np.float64]
    overall: float

    @property
    def worst(self) -> float:
        """Return the balance of the layer with the lowest."""
        return float(self.layers.min())


@dataclass(frozen=True)
class Measured:
    """The balance of a placement on the text it learned from, held out, and (windows,) overall."""

    learned: Balance
    held_out: Balance | None
    windows: NDArray[np.float64]


@dataclass(frozen=True)
class Placements:
    """EPLB's placement of a run's experts, and what it is compared with.

    loads: what they were measured on.
    placement: EPLB's, for `loads.learned`.
    eplb, contiguous: their balance.
    random: the mean balance of random placements, also of each layer's and window's.
    """

    loads: WindowedLoads
    placement: Placement
    eplb: Measured
    contiguous: Measured
    random: Measured

    @property
    def advice(self) -> str:
        """Return one sentence on what to do, which follows from the numbers."""
        if self.placement.gpus == 1:
            return "One GPU holds all experts: there is nothing to balance."
        if self.placement.gpus == self.placement.num_experts == self.placement.experts.shape[1]:
            return (
                "Each GPU holds one expert, so that every placement is the same: only replicas "
                "(--redundant), or fewer GPUs, can balance them."
            )
        ours, theirs = (each.held_out or each.learned for each in (self.eplb, self.contiguous))
        is_held_out = self.loads.held_out is not None
        where = (
            "held-out text" if is_held_out else "the text it learned from, as no other is there,"
        )
        shares = (
            f"on {where} it uses {ours.overall:.1%} of the GPUs' time, and the order of their "
            f"numbers {theirs.overall:.1%}"
        )
        times = ours.overall / theirs.overall
        if times < WORTH_IT:
            return f"Leave the experts in the order of their numbers: EPLB gains nothing, {shares}."
        windows = self.eplb.windows.size
        better = int((self.eplb.windows > self.contiguous.windows).sum())
        gain = f"{shares}; {times:.2f} times as fast, if a layer takes as long as its busiest GPU"
        if windows < 2:
            return f"Place the experts by EPLB: {gain}."
        if better <= windows // 2:
            return (
                f"Place the experts by EPLB, and again as the text changes: {gain}, but it is "
                f"better in {better} of {windows} windows of all text only."
            )
        return (
            f"Place the experts by EPLB: {gain}, and better in {better} of {windows} windows of "
            "all text."
        )


def windowed_loads(frame: pd.DataFrame, layers: int, num_experts: int) -> WindowedLoads:
    """Return the loads of a frame of selections.

    Args:
        frame: moe_index, load_window, split, expert, selections, with a row where there are some;
            load_window and split are null where they are unknown.
        layers: number of MoE layers.
        num_experts: of each.
    """
    windows, places = np.unique(frame["load_window"].fillna(-1).to_numpy(int), return_inverse=True)
    splits = frame["split"].map({"train": 0, "validation": 1, "test": 1}).fillna(2).to_numpy(int)
    counts = np.zeros((3, len(windows), layers, num_experts))
    cells = splits, places, frame["moe_index"].to_numpy(int), frame["expert"].to_numpy(int)
    np.add.at(counts, cells, frame["selections"].to_numpy(float))
    train, held_out, _ = counts.sum(axis=1)
    by_train = bool(train.any())
    return WindowedLoads(
        learned=train if by_train else counts.sum(axis=(0, 1)),
        held_out=held_out if by_train and held_out.any() else None,
        windows=counts.sum(axis=0)[windows >= 0],
        by_train=by_train,
    )


def placements(
    loads: WindowedLoads, gpus: int, nodes: int = 1, groups: int = 1, redundant: int = 0
) -> Placements:
    """Return EPLB's placement of the experts, measured beside contiguous and random ones.

    Args:
        loads: of `windowed_loads`.
        gpus: how many share the places of a layer.
        nodes: how many share the GPUs.
        groups: how many equal groups the experts form, in the order of their numbers.
        redundant: replicas of a layer beyond one of each expert.

    Raises:
        GatehouseError: the numbers do not divide each other, or are too many.
    """
    layers, num_experts = loads.learned.shape
    shape = layers, num_experts, _places(num_experts, redundant, gpus), gpus
    placement = balanced(loads.learned, shape[2], gpus, nodes, groups)
    drawn = [_measured(shuffled(*shape, seed=seed), loads) for seed in range(RANDOM_PLACEMENTS)]
    held_out = [each.held_out for each in drawn if each.held_out is not None]
    return Placements(
        loads=loads,
        placement=placement,
        eplb=_measured(placement, loads),
        contiguous=_measured(contiguous(*shape), loads),
        random=Measured(
            learned=_mean([each.learned for each in drawn]),
            held_out=None if not held_out else _mean(held_out),
            windows=np.mean([each.windows for each in drawn], axis=0),
        ),
    )


def no_usual_placement(num_experts: ArrayLike) -> str:
    """Return why `usual_placements` has none for layers of so many experts; empty if it has."""
    numbers = np.unique(num_experts)
    if len(numbers) > 1:
        return "The layers have different numbers of experts: no one placement."
    if usual_gpus(int(numbers[0])) == 1:
        return f"No number of GPUs can share {numbers[0]} experts equally."
    return ""


def usual_placements(num_experts: ArrayLike, windows: pd.DataFrame) -> Placements:
    """Return `placements` on as many GPUs as `usual_gpus` says.

    Args:
        num_experts: (layers,) experts of each layer, the same in all.
        windows: the frame of `windowed_loads`.
    """
    numbers = np.asarray(num_experts, int)
    loads = windowed_loads(windows, len(numbers), int(numbers[0]))
    return placements(loads, usual_gpus(int(numbers[0])))


def usual_gpus(num_experts: int) -> int:
    """Return the most GPUs, up to USUAL_GPUS, that can have as many experts each, two or more.

    It is 1 where no more can: with one expert a GPU, all placements are the same.
    """
    fitting = (gpus for gpus in range(2, USUAL_GPUS + 1) if num_experts % gpus == 0)
    return max((gpus for gpus in fitting if gpus < num_experts), default=1)


def _places(num_experts: int, redundant: int, gpus: int) -> int:
    if redundant < 0:
        raise GatehouseError(f"--redundant {redundant}: give 0 or more")
    if gpus < 1:
        raise GatehouseError(f"--gpus {gpus}: give 1 or more")
    places = num_experts + redundant
    if (needed := places + -places % gpus) > MOST_PLACES:
        raise GatehouseError(
            f"--gpus {gpus} and --redundant {redundant} make {needed:,} places of a layer: give "
            f"numbers that make {MOST_PLACES:,} or fewer"
        )
    if places % gpus:
        raise GatehouseError(
            f"{gpus} GPUs cannot share {num_experts} experts and {redundant} replicas equally: "
            f"make it --redundant {needed - num_experts}, or give --gpus that divide "
            f"{places}"
        )
    return places


def _measured(placement: Placement, loads: WindowedLoads) -> Measured:
    return Measured(
        learned=_balance(placement, loads.learned),
        held_out=None if loads.held_out is None else _balance(placement, loads.held_out),
        windows=_overall(placement, loads.windows),
    )


def _balance(placement: Placement, loads: Loads) -> Balance:
    return Balance(placement.balance(loads), float(_overall(placement, loads)))


def _overall(placement: Placement, loads: Loads) -> NDArray[np.float64]:
    of_gpus = placement.gpu_loads(loads)
    highest = of_gpus.max(axis=-1).sum(axis=-1)
    mean = of_gpus.mean(axis=-1).sum(axis=-1)
    return np.divide(mean, highest, out=np.ones_like(highest), where=highest > 0)


def _mean(balances: list[Balance]) -> Balance:
    layers = np.mean([each.layers for each in balances], axis=0)
    return Balance(layers, float(np.mean([each.overall for each in balances])))
