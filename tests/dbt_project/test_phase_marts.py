"""Marts of prompts and of generated text, recomputed."""

import numpy as np
import pandas as pd

from tests.dbt_project.conftest import where_known
from tests.dbt_project.test_sequence_marts import adjacent_rows

PHASES = ("prompt", "generated")


def by_phase(layer_events):
    """Yield each layer's phases that have tokens, with their events."""
    for layer in layer_events:
        for phase in PHASES:
            if (layer.phase == phase).any():
                yield layer.keys | {"phase": phase}, layer, layer.where(layer.phase == phase)


def test_the_lake_has_the_hard_cases(layer_events):
    """Generated text with and without token ids, weights and an order, and runs without it."""
    of_both = {
        layer.run_id for keys, layer, _ in by_phase(layer_events) if keys["phase"] != "prompt"
    }
    layers = [layer for layer in layer_events if layer.run_id in of_both]
    for told in ("has_token_ids", "has_weights", "ranked"):
        assert {bool(getattr(layer, told)) for layer in layers} == {True, False}
    assert of_both < {layer.run_id for layer in layer_events}


def test_phase_expert(assert_mart, layer_events):
    rows = []
    for keys, _, events in by_phase(layer_events):
        load = events.load()
        first = np.bincount(events.experts[:, 0], minlength=events.num_experts)
        mass = np.bincount(events.experts.ravel(), events.weights.ravel(), events.num_experts)
        for expert in range(events.num_experts):
            named = events.experts == expert
            rows.append(
                keys
                | {
                    "expert": expert,
                    "phase_tokens": len(events.experts),
                    "selections": named.sum(),
                    "load": load[expert],
                    "load_share": load[expert] / load.sum(),
                    "load_ratio": load[expert] / load.mean(),
                    "is_dead": load[expert] == 0,
                }
                | where_known(
                    events.ranked,
                    {
                        "first_choices": first[expert],
                        "first_choice_share": first[expert] / len(events.experts),
                    },
                )
                | where_known(
                    events.has_weights,
                    {
                        "dropped": (named & (events.weights == 0)).sum(),
                        "gate_mass": mass[expert],
                        "gate_mass_share": mass[expert] / events.weights.sum(),
                    },
                )
            )
    assert_mart("fct_phase_expert", ["run_id", "layer", "phase", "expert"], pd.DataFrame(rows))


def repetition(layer, phase: str) -> dict[str, object]:
    """How often a token of the phase chooses an expert that the one before it chose."""
    before, after = adjacent_rows(layer)
    of_phase = layer.phase[after] == phase
    here, there = layer.experts[before[of_phase]], layer.experts[after[of_phase]]
    shared = [bool(set(one) & set(other)) for one, other in zip(here, there)]
    first = (here[:, 0] == there[:, 0]).mean() if shared and layer.ranked else np.nan
    return {
        "pairs": len(shared),
        "first_choice_repetition": first,
        "any_choice_repetition": np.mean(shared) if shared else np.nan,
    }


def moments(name: str, values: np.ndarray) -> dict[str, float]:
    return {f"mean_{name}": values.mean(), f"std_{name}": pd.Series(values).std()}


def test_phase_routing(assert_mart, layer_events):
    rows = []
    for keys, layer, events in by_phase(layer_events):
        load, selections = events.load(), events.experts.size
        rows.append(
            keys
            | repetition(layer, keys["phase"])
            | moments("entropy", events.entropy.astype(np.float64))
            | moments("confidence", events.confidence.astype(np.float64))
            | {
                "num_experts": layer.num_experts,
                "events": len(events.experts),
                "min_entropy": events.entropy.min(),
                "max_entropy": events.entropy.max(),
                "normalised_entropy": events.entropy.mean() / np.log(layer.num_experts),
                "max_load_ratio": load.max() / load.mean(),
                "load_variation": load.std() / load.mean(),
                "jain_index": load.sum() ** 2 / (layer.num_experts * (load**2).sum()),
                "dead_experts": (load == 0).sum(),
                "dropped_share": 1 - load.sum() / selections if layer.has_weights else np.nan,
            }
        )
    assert_mart("fct_phase_routing", ["run_id", "layer", "phase"], pd.DataFrame(rows))
