"""The frames of a made-up run that say what caches, predictions and calibration come to."""

import numpy as np
import pandas as pd

PHASES = {"prompt": (), "generated": ("static_prompt",)}
"""Phase -> policies that it alone has."""

GAINS = {"lru": 0.30, "lfu": 0.24, "static_train": 0.2, "static_hindsight": 0.26, "belady": 0.55}
GAINS |= {"static_prompt": 0.22}
RECALLS = {
    ("previous_token", 1): 0.3,
    ("previous_token", 2): 0.25,
    ("previous_token", 4): 0.2,
    ("previous_token", 8): 0.15,
    ("layer_before", 1): 0.5,
    ("token", 0): 0.8,
    ("bigram", 0): 0.85,
    ("static_train", 0): 0.2,
}
DOCUMENTS = 10
MOST_SIZES = 64


def inference_frames(layers, experts, top_k, samples, random) -> dict[str, pd.DataFrame]:
    """Return `cached_documents`, `shared_caches`, `predictions` and `calibration` by name."""
    return {
        "cached_documents": _documents(experts, random),
        "shared_caches": _shared(layers, experts, top_k),
        "predictions": _predictions(experts),
        "calibration": _calibration(layers * experts, samples),
    }


def sizes(experts: int) -> np.ndarray:
    return np.unique(np.ceil(experts * np.arange(1, MOST_SIZES + 1) / MOST_SIZES).astype(int))


def _rate(share, gain):
    """A share of the way from chance to 1, most of it in the middle."""
    return share + gain * 4 * share * (1 - share) * (1 - share)


def _documents(experts, random) -> pd.DataFrame:
    rows = []
    for phase, own in PHASES.items():
        for document in range(DOCUMENTS):
            accesses = int(random.integers(800, 1200))
            noise = random.normal(0, 0.02)
            for policy in ("belady", "lfu", "lru", "static_hindsight", *own, "static_train"):
                for slots in sizes(experts):
                    share = slots / experts
                    rate = np.clip(_rate(share, GAINS[policy]) + noise * share * (1 - share), 0, 1)
                    hits = round(rate * accesses)
                    rows.append((f"d{document}", "web", phase, policy, slots, accesses, hits))
    names = ["document", "domain", "phase", "policy", "slots", "accesses", "hits"]
    return pd.DataFrame(rows, columns=names).assign(hits_in_domain=np.nan)


def _shared(layers, experts, top_k) -> pd.DataFrame:
    rows = []
    all_experts = layers * experts
    for phase in PHASES:
        for policy in ("belady", "lfu", "lru"):
            for slots in sizes(all_experts):
                share = slots / all_experts
                rate = min(_rate(share, GAINS[policy]), 1)
                # one least recently used cache has nothing left when its layer comes again
                useless = policy == "lru" and slots < layers * top_k
                hits = 0 if useless else round(rate * 5000)
                rows.append((phase, policy, slots, 5000, hits, hits / 5000, share))
    names = ["phase", "policy", "slots", "accesses", "hits", "hit_rate", "chance_hit_rate"]
    return pd.DataFrame(rows, columns=names)


def _predictions(experts) -> pd.DataFrame:
    rows = []
    for phase, own in PHASES.items():
        found = RECALLS | {(predictor, 0): 0.18 for predictor in own}
        for (predictor, horizon), gain in found.items():
            for budget in sizes(experts):
                share = budget / experts
                rows.append((phase, predictor, horizon, budget, _rate(share, gain), share))
    names = ["phase", "predictor", "horizon", "budget", "recall", "chance_recall"]
    return pd.DataFrame(rows, columns=names)


def _calibration(all_experts, samples) -> pd.DataFrame:
    """All experts soon have one token; a few never have a thousand."""
    rows = [(1, 1, all_experts)]
    for at, tokens in enumerate((10, 100, 1000)):
        never = at * (all_experts // 8)
        early = (all_experts - never) // 2
        first = 1 + at * samples // 4
        rows += [(tokens, first, early), (tokens, samples, all_experts - never - early)]
        rows += [(tokens, np.nan, never)] * bool(never)
    frame = pd.DataFrame(rows, columns=["tokens", "samples", "experts"])
    return frame.groupby(["tokens", "samples"], dropna=False, as_index=False).sum()
