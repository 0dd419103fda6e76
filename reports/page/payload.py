"""What the page's script draws: a run's frames as one JSON object, quantised to stay small."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from gatehouse.reports import statistics
from gatehouse.reports.marts import Marts, published
from gatehouse.reports.marts.texts import Texts
from gatehouse.reports.marts.untold import EVENTS, ORDER, TOKEN_IDS
from gatehouse.reports.page import grids, matrices, ranks
from gatehouse.reports.page.inference import for_inference
from gatehouse.reports.page.packing import columns, plain
from gatehouse.reports.page.passages import passages
from gatehouse.reports.page.replay import for_replay
from gatehouse.reports.page.sections.cards import for_cards
from gatehouse.reports.verdict.criteria import LIMITS
from gatehouse.reports.verdict.findings import (
    CONSISTENCY_COLUMNS,
    MEASURE_COLUMNS,
    AssessedRun,
    Findings,
)
from gatehouse.reports.verdict.thresholds import Thresholds

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
ANY_CHOICE_COLUMNS = ("any_choice_repetition", "any_choice_chance")
REPETITION_COLUMNS = (
    "first_choice_repetition",
    "first_choice_chance",
    "first_choice_chance_by_load",
    "first_or_second_repetition",
    "first_or_second_chance",
)
AGREEMENT_COLUMNS = ("table_tokens", "coverage", "set_agreement", "retained_gate_mass")
SAMPLE_COLUMNS = ("share", "occurrences", "tokens", "spearman", "low_entropy_share", "coverage")


@dataclass(frozen=True)
class Links:
    """The page's links, as relative paths or URLs, and the layer that it shows first.

    `figures` maps the stem of a print figure to its file; it may be empty.
    """

    lineage: str | None = None
    figures: dict[str, str] = field(default_factory=dict)
    layer: int = 0


def payload(assessed: AssessedRun, links: Links, texts: Texts | None = None) -> dict[str, Any]:
    """Return all that the script of a run's page reads, in the form of `reports.page.packing`.

    `texts` are the passages that it shows. What the run's source did not tell, and what follows
    from it, has no key.
    """
    marts = assessed.marts
    indices = [int(index) for index in marts.layers["moe_index"]]
    model = str(assessed.run["model"])
    known = [name for name in LAYER_COLUMNS if marts.layers[name].notna().any()]
    content: dict[str, Any] = {
        "run": {"id": str(assessed.run["run_id"]), "model": model},
        "layer": indices.index(links.layer) if links.layer in indices else 0,
        "layers": columns(marts.layers, known),
        "indices": indices,
        "limits": LIMITS,
        "published": published.repetition(model),
        "load": matrices.loads(marts, indices),
        "busiest": matrices.busiest(marts, indices),
        **for_inference(assessed),
        **for_replay(assessed),
        **for_cards(assessed),
    }
    if EVENTS not in assessed.untold:
        repetition = ANY_CHOICE_COLUMNS if ORDER in assessed.untold else REPETITION_COLUMNS
        content["repetition"] = columns(_by_index(marts.repetition, indices), repetition)
        content |= matrices.choices(marts, indices)
    frames = _frames(assessed.tokens, indices)
    steps = _entropy_steps(marts, assessed.findings)
    if TOKEN_IDS not in assessed.untold:
        content |= _of_tokens(assessed, frames, steps, texts)
    if assessed.layers:
        content |= _of_verdicts(assessed, indices, frames, steps)
        content["layers"] |= columns(_by_index(assessed.findings.layers, indices), FINDING_COLUMNS)
        content["layers"]["verdict"] = [each.validation.verdict for each in assessed.layers]
    return content


def _of_tokens(
    assessed: AssessedRun, frames: list[pd.DataFrame], steps: list[float], texts: Texts | None
) -> dict[str, Any]:
    """Return what the script reads of the tokens of any run that has token ids."""
    marts = assessed.marts
    ranked = ORDER not in assessed.untold
    text = texts and {"text": passages(texts, marts.layers, marts.coactivation, ranked=ranked)}
    needed = texts.tokens["token_id"].unique() if texts else ()
    starts = grids.one_two_five(_largest(assessed.tokens))
    return {
        "consistency": {
            "starts": starts,
            "layers": [grids.consistency_bins(frame, starts) for frame in frames],
        },
        "zipf": ranks.ranks(marts.frequency_rank, assessed.findings.zipf),
        "tokens": matrices.tokens(marts.frequency_rank, frames, steps, needed),
        **(text or {}),
    }


def _of_verdicts(
    assessed: AssessedRun, indices: list[int], frames: list[pd.DataFrame], steps: list[float]
) -> dict[str, Any]:
    """Return what the script reads of what was tested."""
    marts, findings, tokens = assessed.marts, assessed.findings, assessed.tokens
    return {
        **_threshold_grid(frames, tokens, steps, findings.thresholds),
        "density": _density(frames, tokens),
        "agreement": _agreement(marts, indices),
        "samples": _per_layer(findings.sample_sizes, indices, SAMPLE_COLUMNS),
        "minima": _per_layer(findings.minima, indices, ("minimum", "tokens", "spearman")),
    }


def _frames(tokens: pd.DataFrame, indices: list[int]) -> list[pd.DataFrame]:
    by_layer = dict(iter(tokens.groupby("moe_index")))
    return [by_layer.get(index, tokens.head(0)) for index in indices]


def _by_index(frame: pd.DataFrame, indices: list[int]) -> pd.DataFrame:
    return frame.set_index("moe_index").reindex(indices)


def _per_layer(
    frame: pd.DataFrame, indices: list[int], names: tuple[str, ...]
) -> list[dict[str, list[Any]]]:
    return [columns(frame[frame["moe_index"] == index], names) for index in indices]


def _entropy_steps(marts: Marts, findings: Findings) -> list[float]:
    experts = int(marts.layers["num_experts"].max())
    return grids.entropy_steps(experts, findings.thresholds.entropy)


def _threshold_grid(
    frames: list[pd.DataFrame], tokens: pd.DataFrame, entropies: list[float], start: Thresholds
) -> dict[str, Any]:
    frequencies = grids.frequency_steps(_largest(tokens), start.frequency)
    return {
        "steps": {
            "frequency": frequencies,
            "entropy": entropies,
            "frequency_start": frequencies.index(start.frequency),
            "entropy_start": entropies.index(start.entropy),
        },
        "cells": [grids.threshold_cells(frame, frequencies, entropies) for frame in frames],
    }


def _largest(tokens: pd.DataFrame) -> int:
    return max(int(tokens["frequency"].max()) if len(tokens) else 1, 1)


def _density(frames: list[pd.DataFrame], tokens: pd.DataFrame) -> dict[str, Any]:
    highest = float(tokens["mean_entropy"].max()) if len(tokens) else 1.0
    frequencies, entropies = grids.density_edges(_largest(tokens), max(highest, 0.01))
    return {
        "frequency": frequencies,
        "entropy": entropies,
        "layers": [grids.density(frame, frequencies, entropies) for frame in frames],
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
