"""Marts from which decisions on inference follow, recomputed."""

from collections import defaultdict
from functools import reduce
from operator import or_

import numpy as np
import pandas as pd

CALIBRATION = {1: "1_token", 10: "10_tokens", 100: "100_tokens", 1000: "1000_tokens"}
WINDOWS = 16
SIZES = (1, 2, 4, 8, 16, 32)
WEIGHTS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
ENTROPY_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def test_calibration_coverage(assert_mart, layer_events, raw):
    rows = []
    documents = raw["samples"].set_index(["run_id", "sample_id"])["document_sha256"]
    for layer in layer_events:
        samples = documents[layer.run_id].sort_index()
        selected, order = layer.selected(), samples.index.get_indexer(layer.sample_id)
        by_sample = np.zeros((len(samples), layer.num_experts), dtype=np.int64)
        np.add.at(by_sample, order, selected)
        seen = by_sample.cumsum(axis=0)
        for expert in range(layer.num_experts):
            found = samples[by_sample[:, expert] > 0]
            rows.append(
                layer.keys
                | {
                    "expert": expert,
                    "selections": seen[-1, expert],
                    "samples": len(found),
                    "documents": found.nunique(),
                    "first_sample_id": found.index[0] if len(found) else None,
                }
                | {
                    f"samples_until_{name}": (
                        np.argmax(seen[:, expert] >= tokens) + 1
                        if seen[-1, expert] >= tokens
                        else None
                    )
                    for tokens, name in CALIBRATION.items()
                }
            )
    expected = pd.DataFrame(rows)
    assert (expected["documents"] < expected["samples"]).any()
    assert expected.isna().any().sum() == 1 + len(CALIBRATION)
    assert_mart("fct_calibration_coverage", ["run_id", "layer", "expert"], expected)


def test_expert_load_window(assert_mart, layer_events, raw):
    rows = []
    tokens = raw["samples"].set_index(["run_id", "sample_id"])["tokens"]
    for layer in layer_events:
        of_run = tokens[layer.run_id].sort_index()
        before = of_run.cumsum() - of_run
        window = before.to_numpy() * WINDOWS // of_run.sum()
        windows = window[of_run.index.get_indexer(layer.sample_id)]
        for load_window in np.unique(windows):
            for split in ("train", "validation", "test"):
                selected = layer.where((windows == load_window) & (layer.split == split)).selected()
                rows += [
                    layer.keys
                    | {
                        "load_window": load_window,
                        "split": split,
                        "expert": expert,
                        "selections": selections,
                    }
                    for expert, selections in enumerate(selected.sum(axis=0))
                    if selections
                ]
    expected = pd.DataFrame(rows)
    assert expected["load_window"].nunique() == WINDOWS and expected["split"].nunique() == 3
    keys = ["run_id", "layer", "load_window", "split", "expert"]
    assert_mart("fct_expert_load_window", keys, expected)


MEASURES = ("selections", "gate_mass", "ean", "reap")
KEEP_SHARES = (0.25, 0.5, 0.75)
TEXT_PARTS = {
    "first 1/16": range(1),
    "first 1/8": range(2),
    "first 1/4": range(4),
    "first 1/2": range(8),
    "second 1/2": range(8, 16),
    "all": range(16),
}


def saliency(layer) -> pd.DataFrame:
    """Return what fct_expert_saliency has of the experts of some events, one by one, no ranks."""
    rows = []
    for expert in range(layer.num_experts):
        chosen = layer.experts == expert
        weights, norms = layer.weights[chosen], layer.norms[chosen]
        # without weights nobody knows which were dropped
        ran = weights != 0
        norms, weights = norms[ran], weights[ran]
        rows.append(
            {
                "expert": expert,
                "selections": int(chosen.sum()),
                "load": int(ran.sum()),
                "gate_mass": weights.sum() if layer.has_weights else None,
                "mean_weight": weights.mean() if layer.has_weights and len(weights) else None,
            }
            | {
                name: value() if layer.has_output_norms and len(norms) else None
                for name, value in {
                    "max_weight": weights.max,
                    "mean_output_norm": norms.mean,
                    "max_output_norm": norms.max,
                    "reap": (weights * norms).mean,
                }.items()
            }
            | {"ean": norms.sum() if layer.has_output_norms else None}
        )
    return pd.DataFrame(rows).astype({name: float for name in ("gate_mass", "ean", "reap")})


def order_by(measured: pd.DataFrame, measure: str) -> list[int]:
    """Return the experts, the largest value first; ties by id, those without a value last."""
    values = measured[measure].fillna(-1)
    return sorted(measured["expert"], key=lambda expert: (-values[expert], expert))


def test_expert_saliency(assert_mart, layer_events):
    frames = []
    for layer in layer_events:
        measured = saliency(layer)
        for measure in (*MEASURES, "mean_output_norm"):
            needs = {"selections": True, "gate_mass": layer.has_weights}
            known = needs.get(measure, layer.has_output_norms)
            order = order_by(measured, measure)
            ranks = [order.index(expert) + 1 for expert in measured["expert"]]
            measured[f"{measure}_rank"] = ranks if known else None
        frames.append(measured.assign(**layer.keys))
    expected = pd.concat([frame.astype(object) for frame in frames], ignore_index=True)
    numbers = expected.columns.drop("run_id")
    expected[numbers] = expected[numbers].apply(pd.to_numeric)
    assert expected["reap"].notna().any() and expected["reap"].isna().any()
    assert (expected["load"] < expected["selections"]).any()
    assert_mart("fct_expert_saliency", ["run_id", "layer", "expert"], expected)


def parts_of(layer, of_run: pd.Series) -> dict[tuple[str, str], np.ndarray]:
    """Return (basis, part) -> its events; none are of parts without any, and of rare domains."""
    before = of_run.cumsum() - of_run
    window = before.to_numpy() * WINDOWS // of_run.sum()
    windows = window[of_run.index.get_indexer(layer.sample_id)]
    parts = {("text", part): np.isin(windows, held) for part, held in TEXT_PARTS.items()}
    parts |= {("domain", each): layer.domain == each for each in np.unique(layer.domain)}
    return {
        key: mask
        for key, mask in parts.items()
        if mask.any() and (key[0] == "text" or mask.mean() >= 0.01)
    }


def test_keep_set_stability(assert_mart, layer_events, raw):
    rows = []
    tokens = raw["samples"].set_index(["run_id", "sample_id"])["tokens"]
    for layer in layer_events:
        parts = parts_of(layer, tokens[layer.run_id].sort_index())
        measured = {key: saliency(layer.where(mask)) for key, mask in parts.items()}
        known = ["selections", *["gate_mass"] * layer.has_weights]
        for measure in [*known, *["ean", "reap"] * layer.has_output_norms]:
            orders = {key: order_by(frame, measure) for key, frame in measured.items()}
            for (basis, part), order in orders.items():
                reference = "first 1/2" if part == "second 1/2" else "all"
                for share in KEEP_SHARES:
                    kept = int(np.ceil(share * layer.num_experts))
                    mine, theirs = set(order[:kept]), set(orders["text", reference][:kept])
                    rows.append(
                        layer.keys
                        | {"measure": measure, "keep_share": share, "basis": basis, "part": part}
                        | {"reference": reference, "kept_experts": kept}
                        | {
                            "selections": int(parts[basis, part].sum()) * layer.top_k,
                            "shared_experts": len(mine & theirs),
                            "jaccard": len(mine & theirs) / len(mine | theirs),
                            "overlap": len(mine & theirs) / kept,
                            "chance_overlap": kept / layer.num_experts,
                        }
                    )
    expected = pd.DataFrame(rows)
    assert set(expected["measure"]) == set(MEASURES) and (expected["jaccard"] < 1).any()
    keys = ["run_id", "layer", "measure", "keep_share", "basis", "part"]
    assert_mart("fct_keep_set_stability", keys, expected)


def batches_of(layer, prompts: dict[int, int], size: int) -> dict[tuple, list[int]]:
    """Return (phase, kind, which batch) -> the sets of experts of its tokens, as bits."""
    places = {sample: place for place, sample in enumerate(sorted(prompts))}
    found = defaultdict(list)
    of_stretch: dict[tuple, int] = defaultdict(int)
    sets = [sum(1 << expert for expert in experts) for experts in layer.experts.tolist()]
    rows = zip(layer.sample_id.tolist(), layer.position.tolist(), layer.phase, sets)
    for sample, position, phase, experts in rows:
        stretch = (phase, sample, position // layer.max_length)
        found[phase, "tokens", stretch, of_stretch[stretch] // size].append(experts)
        of_stretch[stretch] += 1
        step = position - prompts[sample] if phase == "generated" else position
        found[phase, "sequences", places[sample] // size, step].append(experts)
    return found


def test_batch_experts(assert_mart, layer_events, raw):
    """All samples are read: no run of the lake has as many tokens as are wanted."""
    rows = []
    prompts = raw["samples"].set_index(["run_id", "sample_id"])["prompt_tokens"]
    for layer in layer_events:
        of_run = prompts[layer.run_id].to_dict()
        for size in SIZES:
            touched = defaultdict(list)
            for (phase, batch_of, *_), batch in batches_of(layer, of_run, size).items():
                if len(batch) == size:
                    touched[phase, batch_of].append(reduce(or_, batch).bit_count())
            for (phase, batch_of), experts in touched.items():
                missed = (1 - layer.top_k / layer.num_experts) ** size
                rows.append(
                    layer.keys
                    | {
                        "phase": phase,
                        "batch_of": batch_of,
                        "size": size,
                        "batches": len(experts),
                        "mean_experts": np.mean(experts),
                        "min_experts": min(experts),
                        "max_experts": max(experts),
                        "uniform_experts": layer.num_experts * (1 - missed),
                    }
                )
    expected = pd.DataFrame(rows)
    assert set(expected.loc[expected["phase"] == "generated", "batch_of"]) == {
        "tokens",
        "sequences",
    }
    keys = ["run_id", "layer", "phase", "batch_of", "size"]
    assert_mart("fct_batch_experts", keys, expected)


def adaptive(layer, rule: str, threshold: float, is_kept: np.ndarray) -> dict[str, object]:
    """Return the row of a rule, from whether each selection would be kept, [events, k]."""
    ran = layer.weights != 0  # NaN too: what is not known to be dropped
    kept = is_kept & ran
    mass = layer.weights[kept].sum() / layer.weights.sum() if layer.has_weights else None
    nats = threshold * np.log(layer.num_experts) if rule == "entropy" else None
    return layer.keys | {
        "rule": rule,
        "threshold": threshold,
        "entropy_threshold": nats,
        "mean_experts": kept.sum() / len(kept),
        "experts_share": kept.sum() / ran.sum(),
        "retained_gate_mass": mass,
    }


def test_adaptive_k(assert_mart, layer_events):
    rows = []
    for layer in layer_events:
        if layer.has_weights:
            largest = np.arange(layer.top_k) == layer.weights.argmax(axis=1)[:, None]
            for weight in WEIGHTS:
                rows.append(adaptive(layer, "weight", weight, (layer.weights >= weight) | largest))
        if layer.ranked and not np.isnan(layer.entropy).any():
            is_first = np.arange(layer.top_k) == 0
            for share in ENTROPY_SHARES:
                unsure = layer.entropy.astype(np.float64) >= share * np.log(layer.num_experts)
                rows.append(adaptive(layer, "entropy", share, unsure[:, None] | is_first))
    expected = pd.DataFrame(rows)
    assert expected["experts_share"].min() < 0.5 < expected["experts_share"].max() == 1
    assert_mart("fct_adaptive_k", ["run_id", "layer", "rule", "threshold"], expected)
