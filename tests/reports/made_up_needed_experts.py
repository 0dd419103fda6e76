"""The frames of a made-up run that say how many experts its text needs."""

import numpy as np
import pandas as pd

WEIGHTS = (0.01, 0.05, 0.1, 0.2, 0.5)
ENTROPIES = (0.1, 0.3, 0.5, 0.7, 0.9)
SIZES = (1, 2, 4, 8, 16, 32)
PARTS = {"first 1/16": 1 / 16, "first 1/8": 1 / 8, "first 1/4": 1 / 4, "first 1/2": 1 / 2}
PARTS |= {"second 1/2": 1 / 2, "all": 1.0}
LOST = {"selections": 0.2, "gate_mass": 0.3, "reap": 0.0}
"""By how much the smallest part differs from all text."""
DOMAINS = (None, "code", "maths <i>", "web")


def needed_frames(layers: int, experts: int, top_k: int) -> dict[str, pd.DataFrame]:
    """Return `adaptive_k`, `batch_experts`, `keep_sets`, `rankings` and `tuning` by name."""
    return {
        "adaptive_k": _adaptive(layers, top_k),
        "batch_experts": _batches(experts, top_k),
        "keep_sets": _keep_sets(layers),
        "rankings": _rankings(layers),
        "tuning": _tuning(layers, experts),
    }


def _adaptive(layers, top_k) -> pd.DataFrame:
    rows = []
    for rule, thresholds in (("weight", WEIGHTS), ("entropy", ENTROPIES)):
        for threshold in thresholds:
            dropped = threshold if rule == "weight" else threshold**2
            mean = top_k - (top_k - 1) * dropped
            rows.append((rule, threshold, layers, mean, float(top_k), 1 - dropped**2 / 2))
    names = ["rule", "threshold", "layers", "mean_experts", "all_experts", "retained_gate_mass"]
    return pd.DataFrame(rows, columns=names)


def _batches(experts, top_k) -> pd.DataFrame:
    """Generated text has no batch of more than eight."""
    rows = []
    for phase, most in (("prompt", 32), ("generated", 8)):
        for kind, shared in (("tokens", 0.1), ("sequences", 0.05)):
            for size in SIZES:
                uniform = experts * (1 - (1 - top_k / experts) ** size)
                mean = top_k + (uniform - top_k) * (1 - shared)
                rows += [(phase, kind, size, mean, uniform)] * (size <= most)
    names = ["phase", "batch_of", "size", "mean_experts", "uniform_experts"]
    return pd.DataFrame(rows, columns=names)


def _keep_sets(layers) -> pd.DataFrame:
    rows = []
    for measure, lost in LOST.items():
        for keep_share in (0.25, 0.5, 0.75):
            for part, share in PARTS.items():
                reference = "first 1/2" if part == "second 1/2" else "all"
                jaccard = 1 - lost * (1 - share)
                same = layers if jaccard == 1 else layers - 1
                rows.append((measure, keep_share, part, reference, share, layers, same, jaccard))
    names = ["measure", "keep_share", "part", "reference", "text_share", "layers"]
    return pd.DataFrame(rows, columns=[*names, "same_layers", "jaccard"])


def _rankings(layers) -> pd.DataFrame:
    pairs = (("selections", "gate_mass"), ("selections", "reap"), ("gate_mass", "reap"))
    rows = [(*pair, layers, at, (1 + at) / 4) for at, pair in enumerate(pairs)]
    names = ["measure", "other_measure", "layers", "same_layers", "jaccard"]
    return pd.DataFrame(rows, columns=names)


def _tuning(layers, experts) -> pd.DataFrame:
    rows = []
    for at, domain in enumerate(DOMAINS):
        for relevance in ("gate", "selection"):
            for share in (0.1, 0.2):
                most = int(np.ceil(round(share * experts, 9)))
                least = max(most - at, 1)
                mean = (least + most) / 2
                rows.append((domain, relevance, share, layers, mean, least, most))
    names = ["domain", "relevance", "share", "layers", "mean_experts", "min_experts"]
    return pd.DataFrame(rows, columns=[*names, "max_experts"])
