"""One made-up run in the frames that figures and page take, all computed from its own events."""

import numpy as np
import pandas as pd

from gatehouse.reports.marts import Marts
from tests.reports.made_up_cards import made_up_cards
from tests.reports.made_up_inference import inference_frames
from tests.reports.made_up_needed_experts import needed_frames
from tests.reports.made_up_replay import replay_frames

LEVELS = (0, 5, 10, 20, 50, 100, 200, 500, 1000)
SAMPLES = 12
NATS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def made_up_marts(
    layers: int = 3, tokens: int = 300, experts: int = 8, top_k: int = 2, seed: int = 0
) -> Marts:
    """Frames of a run whose counts add up: shares sum to 1, chances are the real ones."""
    random = np.random.default_rng(seed)
    ranks = np.arange(1, tokens + 1)
    frequency = np.sort(np.maximum(1, (30 * tokens / (ranks + 2.7)).astype(int)))[::-1]
    ids = random.permutation(tokens).astype(int)
    each = [_tokens(index, ids, frequency, experts, random) for index in range(layers)]
    pairs = [_pairs(index, experts, random) for index in range(layers)]
    load = [_load(i, experts, random) for i in range(layers)]
    return Marts(
        layers=pd.DataFrame([_layer(i, frame, experts, top_k) for i, frame in enumerate(each)]),
        tokens=pd.concat(each, ignore_index=True),
        frequency_rank=pd.DataFrame(
            {
                "token_id": ids,
                "token_str": [f" token{rank}" for rank in ranks],
                "is_special": ranks == 1,
                "frequency": frequency,
                "frequency_rank": ranks,
                "mean_position": random.uniform(0, 400, tokens),
            }
        ),
        expert_load=pd.concat(load, ignore_index=True),
        load_windows=pd.concat([_windows(each, random) for each in load], ignore_index=True),
        expert_coverage=pd.concat([_coverage(each) for each in load], ignore_index=True),
        coactivation=pd.concat([first for first, _ in pairs], ignore_index=True),
        transition=pd.concat([pairs[0][1].head(0), *(second for _, second in pairs[:-1])]),
        repetition=pd.DataFrame([_repetition(i, layers, experts, top_k) for i in range(layers)]),
        domain_expert=pd.concat(
            [_domains(i, experts, top_k, random) for i in range(layers)], ignore_index=True
        ),
        agreement=pd.DataFrame(
            [_agreement(i, size, tokens) for i in range(layers) for size in (64, 256, 1024, 4096)]
        ),
        thresholds=pd.DataFrame(
            [
                _threshold(i, frame, least, most)
                for i, frame in enumerate(each)
                for least in LEVELS
                for most in NATS
            ]
        ),
        cards=made_up_cards(load, ids, top_k),
        **inference_frames(layers, experts, top_k, SAMPLES, random),
        **needed_frames(layers, experts, top_k),
        **replay_frames(layers, top_k),
    )


def _tokens(index, ids, frequency, experts, random) -> pd.DataFrame:
    ceiling = np.log(experts)
    entropy = (0.9 - 0.12 * np.log(frequency) + 0.1 * min(index, 5)) * ceiling / 2
    # two equal values would tie here but not in sums by block
    lowest = 0.01 + 1e-7 * np.arange(len(ids))
    entropy = np.clip(entropy + random.normal(0, 0.1, len(ids)), lowest, ceiling - lowest)
    consistency = np.maximum(np.round(frequency * (1 - 0.3 * entropy / ceiling)), 1) / frequency
    return pd.DataFrame(
        {
            "moe_index": index,
            "token_id": ids,
            "frequency": frequency,
            "mean_entropy": entropy,
            "mean_confidence": np.clip(1 - entropy / (1.2 * ceiling), 1 / experts, 1),
            "routing_consistency": consistency,
            "held_out_consistency": np.where(frequency > 1, consistency * 0.9, np.nan),
            "vocabulary_specialisation": consistency,
            "held_out_specialisation": np.where(frequency > 1, consistency * 0.92, np.nan),
            "random_consistency": np.maximum(1 / experts, 1 / frequency),
            "top_expert": random.integers(0, experts, len(ids)),
        }
    )


def _layer(index, frame, experts, top_k) -> dict:
    weights = frame["frequency"]
    mean = float(np.average(frame["mean_entropy"], weights=weights))
    return {
        "run_id": "made-up",
        "layer": 2 * index + 1,
        "moe_index": index,
        "stack": "decoder",
        "block": 2 * index + 1,
        "router_path": f"layers.{2 * index + 1}.gate",
        "scoring": "softmax",
        "num_experts": experts,
        "top_k": top_k,
        "weights_sum_to_one": True,
        "expert_bytes": 1_000_000,
        "events": int(weights.sum()),
        "token_types": len(frame),
        "mean_entropy": mean,
        "std_entropy": 0.2,
        "min_entropy": 0.0,
        "max_entropy": float(np.log(experts)),
        "normalised_entropy": mean / float(np.log(experts)),
        "mean_confidence": float(np.average(frame["mean_confidence"], weights=weights)),
        "std_confidence": 0.1,
        "routing_consistency": float(np.average(frame["routing_consistency"], weights=weights)),
        "max_load_ratio": 1.6 + 0.1 * index,
        "load_variation": 0.3,
        "jain_index": 0.9 - 0.02 * index,
        "dead_experts": 0,
    }


def _load(index, experts, random) -> pd.DataFrame:
    share = random.dirichlet(np.full(experts, 8.0))
    return pd.DataFrame(
        {
            "moe_index": index,
            "expert": np.arange(experts),
            "selections": np.round(1e5 * share).astype(int),
            "load_share": share,
            "load_ratio": share * experts,
            "first_choice_share": random.dirichlet(np.full(experts, 8.0)),
            "gate_mass_share": share,
            "is_dead": False,
        }
    )


def _windows(load, random) -> pd.DataFrame:
    """Selections of four windows, of which the last holds no train split."""
    parts = [(0, "train"), (1, "train"), (1, "test"), (2, "train"), (3, "validation")]
    shares = random.dirichlet(np.full(len(parts), 5.0), len(load))
    counts = np.floor(shares * load["selections"].to_numpy()[:, None]).astype(int)
    counts[:, 0] += load["selections"].to_numpy() - counts.sum(axis=1)
    return pd.concat(
        [
            load[["moe_index", "expert"]].assign(
                load_window=window, split=split, selections=counts[:, place]
            )
            for place, (window, split) in enumerate(parts)
        ]
    )


def _coverage(load) -> pd.DataFrame:
    shares = np.cumsum(np.sort(load["load_share"])[::-1])
    counted = np.arange(1, len(shares) + 1)
    layer = load["moe_index"].iloc[0]
    return pd.DataFrame({"moe_index": layer, "top_experts": counted, "activation_share": shares})


def _pairs(index, experts, random) -> tuple[pd.DataFrame, pd.DataFrame]:
    first, second = np.meshgrid(np.arange(experts), np.arange(experts), indexing="ij")
    distinct = first != second
    following = random.dirichlet(np.full(experts, 1.0), experts)
    coactivation = pd.DataFrame(
        {
            "moe_index": index,
            "expert": first[distinct],
            "other_expert": second[distinct],
            "probability": random.uniform(0, 0.4, distinct.sum()),
            "uniform_probability": 1 / (experts - 1),
        }
    )
    transition = pd.DataFrame(
        {
            "moe_index": index,
            "expert": first.ravel(),
            "next_expert": second.ravel(),
            "probability": following.ravel(),
            "lift": following.ravel() * experts,
        }
    )
    return coactivation, transition


def _repetition(index, layers, experts, top_k) -> dict:
    depth = index / max(layers - 1, 1)
    several = top_k > 1
    overlap = 1 - (experts - 2) * (experts - 3) / (experts * (experts - 1))
    return {
        "moe_index": index,
        "first_choice_repetition": 0.14 + 0.12 * depth,
        "first_choice_chance": 1 / experts,
        "first_choice_chance_by_load": 1.1 / experts,
        "first_or_second_repetition": 0.47 + 0.12 * depth if several else None,
        "first_or_second_chance": overlap if several else None,
        "any_choice_repetition": 0.47 + 0.12 * depth,
        "any_choice_chance": overlap,
    }


def _domains(index, experts, top_k, random) -> pd.DataFrame:
    frames = []
    for domain in ("code", "maths <i>", "web"):
        share = random.dirichlet(np.full(experts, 4.0)) * top_k
        frames.append(
            pd.DataFrame(
                {
                    "moe_index": index,
                    "domain": domain,
                    "domain_tokens": 1000,
                    "expert": np.arange(experts),
                    "specialisation": share,
                    "uniform_specialisation": top_k / experts,
                }
            )
        )
    return pd.concat(frames)


def _agreement(index, size, tokens) -> dict:
    table = min(size, tokens)
    agreement = (0.95 - 0.01 * np.log2(size)) / (1 + 0.1 * index)
    return {
        "moe_index": index,
        "table_size": size,
        "table_tokens": table,
        "coverage": (table / tokens) ** 0.4,
        "top_agreement": agreement,
        "set_agreement": agreement**1.5,
        "retained_gate_mass": agreement**0.5,
    }


def _threshold(index, frame, least, most) -> dict:
    chosen = (frame["frequency"] > least) & (frame["mean_entropy"] < most)
    held = frame.loc[chosen, "frequency"].sum()
    agreement = (0.95 - 0.1 * most) / (1 + 0.05 * index) if held else None
    return {
        "moe_index": index,
        "frequency_threshold": least,
        "entropy_threshold": most,
        "table_tokens": int(chosen.sum()),
        "coverage": held / frame["frequency"].sum(),
        "top_agreement": agreement,
        "set_agreement": agreement and agreement**1.5,
        "retained_gate_mass": agreement and agreement**0.5,
    }
