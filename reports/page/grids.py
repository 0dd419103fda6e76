"""Per-token frames of one MoE layer as the counts in cells that the page draws and adds up."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports.page.packing import THOUSANDTHS, packed, plain

ENTROPY_STEP = 0.05
"""Nats between two positions of the entropy slider."""

FREQUENCY_BINS = 48
ENTROPY_BINS = 50
"""Cells of the density: at most so many over frequency, exactly so many over entropy."""


def one_two_five(largest: int) -> list[int]:
    """Return 1, 2, 5, 10, … up to `largest`."""
    decades = range(len(str(max(largest, 1))))
    return [
        each * 10**decade
        for decade in decades
        for each in (1, 2, 5)
        if each * 10**decade <= largest
    ]


def frequency_steps(largest: int, threshold: int) -> list[int]:
    """Return the frequency slider's positions: 0, then 1-2-5 steps, and the threshold itself."""
    return sorted({0, threshold, *one_two_five(largest)})


def entropy_steps(experts: int, threshold: float) -> list[float]:
    """Return the entropy slider's positions, nats: the last one is over every entropy."""
    count = int(np.floor(np.log(max(experts, 2)) / ENTROPY_STEP)) + 1
    return sorted({threshold, *(round(ENTROPY_STEP * step, 2) for step in range(1, count + 1))})


def entropy_cell(entropy: NDArray[np.float64], steps: list[float]) -> NDArray[np.int64]:
    """Return how many steps each entropy is not under: it is under step i if that is <= i."""
    return np.searchsorted(np.asarray(steps), entropy, side="right")


def threshold_cells(
    frame: pd.DataFrame, frequencies: list[int], entropies: list[float]
) -> dict[str, Any]:
    """Return tokens and occurrences by slider cell, so that any setting is an exact sum.

    A token is over frequency step i when its row is > i, under entropy step j when its column is
    <= j; a cell is row * (entropy steps + 1) + column.
    """
    frequency = frame["frequency"].to_numpy()
    row = np.searchsorted(np.asarray(frequencies), frequency, side="left")
    column = entropy_cell(frame["mean_entropy"].to_numpy(), entropies)
    return _sparse(row * (len(entropies) + 1) + column, frequency)


def density_edges(largest: int, highest: float) -> tuple[list[int], list[float]]:
    """Return the whole frequencies, and the entropies in nats, at which density cells start."""
    spread = np.geomspace(1, largest + 1, FREQUENCY_BINS + 1)
    frequencies = sorted({int(np.ceil(edge - 1e-9)) for edge in spread} | {largest + 1})
    return frequencies, [
        round(float(edge), 4) for edge in np.linspace(0, highest, ENTROPY_BINS + 1)
    ]


def density(frame: pd.DataFrame, frequencies: list[int], entropies: list[float]) -> dict[str, Any]:
    """Return tokens and occurrences by cell of the density: row * ENTROPY_BINS + column."""
    frequency = frame["frequency"].to_numpy()
    row = np.searchsorted(frequencies, frequency, side="right") - 1
    column = np.searchsorted(entropies, frame["mean_entropy"].to_numpy(), side="right") - 1
    return _sparse(row * ENTROPY_BINS + np.clip(column, 0, ENTROPY_BINS - 1), frequency)


def _sparse(cell: NDArray[np.int64], frequency: NDArray[np.int64]) -> dict[str, Any]:
    tokens = np.bincount(cell)
    occurrences = np.bincount(cell, weights=frequency)
    filled = np.flatnonzero(tokens)
    return {
        "cell": packed(filled),
        "tokens": packed(tokens[filled]),
        "occurrences": packed(occurrences[filled]),
    }


def consistency_bins(frame: pd.DataFrame, starts: list[int]) -> dict[str, Any]:
    """Return mean consistency by frequency bin: as counted, held out, and of a random router.

    Args:
        frame: one layer's tokens.
        starts: first frequency of each bin.
    """
    of_bin = np.searchsorted(starts, frame["frequency"].to_numpy(), side="right") - 1
    names = ["routing_consistency", "held_out_consistency", "random_consistency"]
    by_bin = frame[names].astype(float).groupby(of_bin).mean()
    means = by_bin.reindex(range(len(starts)))
    return {
        "tokens": plain(np.bincount(of_bin, minlength=len(starts))),
        "plain": packed(means["routing_consistency"], 10 * THOUSANDTHS),
        "held_out": packed(means["held_out_consistency"], 10 * THOUSANDTHS),
        "random": packed(means["random_consistency"], 10 * THOUSANDTHS),
    }
