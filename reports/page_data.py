"""What the page's script draws: a run's frames as one JSON object, quantised to stay small."""

from typing import Any

import numpy as np
import pandas as pd

from reports import page_grids, page_matrices, page_ranks, published, statistics
from reports.analysis import CONSISTENCY_COLUMNS, MEASURE_COLUMNS, Findings, Marts
from reports.criteria import LIMITS
from reports.packing import columns, plain
from reports.run_page import Links, RunPage

LAYER_COLUMNS = ("layer", "stack", "num_experts", "top_k", "normalised_entropy", "max_load_ratio")
FINDING_COLUMNS = (
    "criteria_met",
    "tokens",
    "occurrences",
    "null_low",
    "null_high",
    *MEASURE_COLUMNS,
    *CONSISTENCY_COLUMNS,
)
REPETITION_COLUMNS = (
    "first_choice_repetition",
    "first_choice_chance",
    "first_choice_chance_by_load",
    "first_or_second_repetition",
    "first_or_second_chance",
)
AGREEMENT_COLUMNS = ("table_tokens", "coverage", "set_agreement", "retained_gate_mass")
SAMPLE_COLUMNS = ("share", "occurrences", "tokens", "spearman", "low_entropy_share", "coverage")


def payload(page: RunPage, links: Links) -> dict[str, Any]:
    """Return everything that the script of a run's page reads, in the form of `reports.packing`."""
    marts, findings = page.marts, page.findings
    by_layer = dict(iter(marts.tokens.groupby("moe_index")))
    indices = [int(index) for index in marts.layers["moe_index"]]
    frames = [by_layer.get(index, marts.tokens.head(0)) for index in indices]
    return {
        "run": {"id": str(page.run["run_id"]), "model": str(page.run["model"])},
        "layer": indices.index(links.layer) if links.layer in indices else 0,
        "layers": columns(marts.layers, LAYER_COLUMNS)
        | columns(_by_index(findings.layers, indices), FINDING_COLUMNS)
        | {"verdict": [each.verdict for each in page.validations]},
        "indices": indices,
        "limits": LIMITS,
        **_threshold_grid(frames, marts, findings),
        **_distributions(frames, marts, indices),
        "agreement": _agreement(marts, indices),
        "published": published.repetition(str(page.run["model"])),
        "repetition": columns(_by_index(marts.repetition, indices), REPETITION_COLUMNS),
        "samples": _per_layer(findings.sample_sizes, indices, SAMPLE_COLUMNS),
        "minima": _per_layer(findings.minima, indices, ("minimum", "tokens", "spearman")),
        "zipf": page_ranks.ranks(marts.frequency_rank, findings.zipf),
        **page_matrices.experts(marts, indices),
        "tokens": page_matrices.tokens(marts, frames, _entropy_steps(marts, findings)),
    }


def _by_index(frame: pd.DataFrame, indices: list[int]) -> pd.DataFrame:
    return frame.set_index("moe_index").reindex(indices)


def _per_layer(
    frame: pd.DataFrame, indices: list[int], names: tuple[str, ...]
) -> list[dict[str, list[Any]]]:
    return [columns(frame[frame["moe_index"] == index], names) for index in indices]


def _entropy_steps(marts: Marts, findings: Findings) -> list[float]:
    experts = int(marts.layers["num_experts"].max())
    return page_grids.entropy_steps(experts, findings.entropy_threshold)


def _threshold_grid(frames: list[pd.DataFrame], marts: Marts, findings: Findings) -> dict[str, Any]:
    frequencies = page_grids.frequency_steps(_largest(marts), findings.frequency_threshold)
    entropies = _entropy_steps(marts, findings)
    return {
        "steps": {
            "frequency": frequencies,
            "entropy": entropies,
            "frequency_start": frequencies.index(findings.frequency_threshold),
            "entropy_start": entropies.index(findings.entropy_threshold),
        },
        "cells": [page_grids.threshold_cells(frame, frequencies, entropies) for frame in frames],
    }


def _largest(marts: Marts) -> int:
    return max(int(marts.tokens["frequency"].max()) if len(marts.tokens) else 1, 1)


def _distributions(frames: list[pd.DataFrame], marts: Marts, indices: list[int]) -> dict[str, Any]:
    highest = float(marts.tokens["mean_entropy"].max()) if len(marts.tokens) else 1.0
    frequencies, entropies = page_grids.density_edges(_largest(marts), max(highest, 0.01))
    starts = page_grids.one_two_five(_largest(marts))
    return {
        "density": {
            "frequency": frequencies,
            "entropy": entropies,
            "layers": [page_grids.density(frame, frequencies, entropies) for frame in frames],
        },
        "consistency": {
            "starts": starts,
            "layers": [page_grids.consistency_bins(frame, starts) for frame in frames],
        },
    }


def _agreement(marts: Marts, indices: list[int]) -> list[dict[str, Any]]:
    """Return each layer's tables: by size, and by thresholds with those that no other one beats."""
    layers = []
    for index in indices:
        sizes = marts.agreement[marts.agreement["moe_index"] == index].sort_values("table_size")
        chosen = marts.thresholds[marts.thresholds["moe_index"] == index]
        front = statistics.pareto_front(
            chosen["coverage"].to_numpy(dtype=np.float64),
            chosen["set_agreement"].to_numpy(dtype=np.float64),
        )
        names = ("frequency_threshold", "entropy_threshold", *AGREEMENT_COLUMNS)
        layers.append(
            {
                "sizes": columns(sizes, ("table_size", *AGREEMENT_COLUMNS)),
                "thresholds": columns(chosen, names) | {"front": plain(front)},
            }
        )
    return layers
