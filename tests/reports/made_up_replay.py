"""The frames of a made-up run that say what policies which overrule its routers cost."""

from dataclasses import replace

import numpy as np
import pandas as pd

from gatehouse.warehouse import replays
from gatehouse.warehouse.replays import ReplayPolicy, policy_columns

SHARE = ReplayPolicy(replays.TOKENS, min_share=0.9, min_frequency=50)
ENTROPY = ReplayPolicy(replays.TOKENS, frequency_threshold=50, entropy_threshold=0.5)
LARGEST = ReplayPolicy(replays.TOKENS, table_size=256)
DROP = ReplayPolicy(replays.DROP_BELOW, weight_threshold=0.2)
MASK = ReplayPolicy(replays.MASK, ranked_by="load", masked_experts=1)

COSTS = {
    "tokens, share ≥ 0.9 and frequency ≥ 50": (SHARE, 0.25, 0.001),
    "tokens, share ≥ 0.7 and frequency ≥ 50": (replace(SHARE, min_share=0.7), 0.4, 0.0035),
    "tokens, share ≥ 0.5 and frequency ≥ 50": (replace(SHARE, min_share=0.5), 0.55, 0.0163),
    "tokens, entropy < 0.5 and frequency > 50": (ENTROPY, 0.19, 0.024),
    "tokens, entropy < 1.8 and frequency > 50": (
        replace(ENTROPY, entropy_threshold=1.8),
        0.52,
        0.058,
    ),
    "tokens, the 256 most frequent": (LARGEST, 0.61, 0.048),
    "tokens, the 1,024 most frequent": (replace(LARGEST, table_size=1024), 0.85, 0.064),
    "bigrams, share ≥ 0.9 and frequency ≥ 2": (
        ReplayPolicy(replays.BIGRAMS, min_share=0.9, min_frequency=2),
        0.38,
        0.0011,
    ),
    "experts below 0.2 dropped": (DROP, 0.19, 0.002),
    "experts below 0.3 dropped": (replace(DROP, weight_threshold=0.3), 0.41, 0.017),
    "1 experts of least load masked": (MASK, 0.2, 0.39),
    "2 experts of least load masked": (replace(MASK, masked_experts=2), 0.4, 0.57),
    "1 experts of least reap masked": (replace(MASK, ranked_by="reap"), 0.25, 0.12),
    "own routing": (ReplayPolicy(replays.OWN), 1.0, 0.0),
    "random experts": (ReplayPolicy(replays.RANDOM), 1.0, 2.24),
    "another token's entry, every known one": (
        ReplayPolicy(replays.ANOTHER_TOKEN, min_share=0.0, min_frequency=1),
        0.998,
        2.49,
    ),
    "as many dropped at random (experts below 0.2 dropped)": (
        ReplayPolicy(replays.RANDOM_DROP, weight_threshold=0.2, controls=DROP.policy_id),
        0.25,
        0.052,
    ),
    "1 random experts masked": (ReplayPolicy(replays.RANDOM_MASK, masked_experts=1), 0.24, 0.55),
}
"""A policy in words -> what it is, its coverage, and by how much the loss is higher with it.

The costs are those that a prototype measured on the bundled model."""

DOCUMENTS = 20
FAMILIES = (replays.DROP_BELOW, replays.RANDOM_DROP)


def replay_frames(
    layers: int, top_k: int, costs: dict = COSTS, documents: int = DOCUMENTS, spread: float = 0.3
) -> dict[str, pd.DataFrame]:
    """Return `replays`, `replay_documents` and `replay_layers` by name.

    A document's cost is off by up to `spread` of the policy's to both sides.
    """
    random = np.random.default_rng(1)
    tokens = random.integers(200, 900, documents)
    untouched = random.uniform(4, 5, documents)
    rows, sums, by_layer = [], [], []
    for words, (policy, coverage, cost) in costs.items():
        agreement = 1.0 if policy.kind == replays.OWN else max(0.95 - cost, 0.05)
        # one of k experts goes where experts are dropped
        experts = top_k - coverage * (top_k > 1) * (policy.kind in FAMILIES)
        foretold = policy.kind == replays.TOKENS
        rows.append(
            policy_columns(policy, words)
            | {
                "samples": documents,
                "undisturbed_share": agreement,
                "layers_overruled": layers,
                "predicted_coverage": coverage if foretold else None,
                "predicted_agreement": agreement if foretold else None,
            }
        )
        for place, count in enumerate(tokens):
            token_layers = int(count + 1) * layers
            covered = round(token_layers * coverage)
            sums.append(
                {
                    "policy_id": policy.policy_id,
                    "document": f"d{place:03}",
                    "tokens": int(count),
                    "delta_nll": count * cost * (1 + spread * random.uniform(-1, 1)),
                    "untouched_nll": count * untouched[place],
                    "kl": count * cost / 2,
                    "same_top": round(count * (1 - min(cost, 0.8))),
                    "token_layers": token_layers,
                    "covered": covered,
                    "agreed": round(covered * agreement),
                    "experts_run": token_layers * experts,
                }
            )
        by_layer += [
            {
                "policy_id": policy.policy_id,
                "moe_index": index,
                "coverage": coverage,
                "set_agreement": agreement * (1 - 0.02 * index) if coverage else None,
                "undisturbed_share": agreement,
                "experts_per_token": experts,
                "predicted_coverage": coverage if foretold else None,
                "predicted_agreement": agreement if foretold and coverage else None,
            }
            for index in range(layers)
        ]
    return {
        "replays": pd.DataFrame(rows),
        "replay_documents": pd.DataFrame(sums),
        "replay_layers": pd.DataFrame(by_layer),
    }
