"""What an expert is chosen for, recomputed from the events."""

from collections import Counter

import numpy as np
import pandas as pd

from gatehouse.reports.statistics import FALSE_DISCOVERY_RATE, discoveries

TOKENS, NEIGHBOURS, CONTEXTS, AROUND = 10, 5, 5, 8
OFTEN = 10
"""How often a token or a pair occurs to be shown, and in each half to be compared."""
DOCUMENTS = 10


def top_tokens(layer, expert: int, rate: float) -> list[dict] | None:
    if not layer.has_token_ids:
        return None
    frequency = Counter(layer.token_id.tolist())
    chosen = Counter(layer.token_id[(layer.experts == expert).any(axis=1)].tolist())
    found = [
        {
            "token_id": token,
            "frequency": frequency[token],
            "selections": times,
            "lift": times / frequency[token] / rate,
        }
        for token, times in chosen.items()
        if frequency[token] >= OFTEN and times / frequency[token] > rate
    ]
    return sorted(found, key=lambda each: (-each["lift"], -each["frequency"], each["token_id"]))[
        :TOKENS
    ]


def neighbours(layer, expert: int, rates: np.ndarray) -> list[dict]:
    together = layer.selected()[(layer.experts == expert).any(axis=1)]
    found = [
        {
            "expert": other,
            "tokens": int(tokens),
            "probability": tokens / len(together),
            "lift": tokens / len(together) / rates[other],
        }
        for other, tokens in enumerate(together.sum(axis=0))
        if other != expert and tokens >= OFTEN
    ]
    return sorted(found, key=lambda each: (-each["lift"], -each["tokens"], each["expert"]))[
        :NEIGHBOURS
    ]


def domains(layer, expert: int, rate: float, documents: pd.Series) -> list[dict]:
    """Return them with the variance of a sum of residuals drawn without replacement."""
    frame = pd.DataFrame(
        {
            "domain": layer.domain,
            "document": documents[layer.sample_id].to_numpy(),
            "selected": (layer.experts == expert).any(axis=1),
        }
    )
    parts = frame.groupby(["domain", "document"])["selected"].agg(["sum", "size"]).reset_index()
    residuals = parts["sum"] - rate * parts["size"]
    found = []
    for domain, own in parts.groupby("domain"):
        inside, outside = len(own), len(parts) - len(own)
        spread = residuals.var(ddof=1) * inside * (1 - inside / len(parts))
        selections, tokens = int(own["sum"].sum()), int(own["size"].sum())
        is_judged = min(inside, outside) >= DOCUMENTS and spread > 1e-6
        found.append(
            {
                "domain": domain,
                "documents": inside,
                "tokens": tokens,
                "selections": selections,
                "log2_lift": np.log2(selections / tokens / rate) if selections else None,
                "z": residuals[own.index].sum() / np.sqrt(spread) if is_judged else None,
            }
        )
    return sorted(found, key=lambda each: (-each["selections"] / each["tokens"], each["domain"]))


def contexts(layer, expert: int) -> list[dict] | None:
    if not layer.has_token_ids or not layer.ranked or np.isnan(layer.confidence).all():
        return None
    found = []
    for sample in np.unique(layer.sample_id):
        of_sample = layer.where(layer.sample_id == sample)
        own = of_sample.where(of_sample.experts[:, 0] == expert)
        if len(own.position):
            best = own.position[own.confidence == own.confidence.max()].min()
            near = np.abs(of_sample.position.astype(np.int64) - int(best)) <= AROUND
            text = of_sample.where(near)
            order = np.argsort(text.position)
            found.append(
                {
                    "sample_id": int(sample),
                    "position": int(best),
                    "confidence": float(own.confidence.max()),
                    "token_ids": text.token_id[order].tolist(),
                    "tokens_before": int((text.position < best).sum()),
                }
            )
    return sorted(found, key=lambda each: (-each["confidence"], each["sample_id"]))[:CONTEXTS]


def halves(layer, block: pd.Series) -> tuple[int | None, list[float | None]]:
    """Return how many tokens both halves have, and the correlation of each expert's shares."""
    if not layer.has_token_ids:
        return None, [None] * layer.num_experts
    is_first = block[layer.sample_id].to_numpy() % 2 == 0
    parts = [layer.where(is_first), layer.where(~is_first)]
    counted = [Counter(part.token_id.tolist()) for part in parts]
    tokens = [token for token in counted[0] if min(each[token] for each in counted) >= OFTEN]
    correlations = []
    for expert in range(layer.num_experts):
        shares = [
            [
                (part.experts[part.token_id == token] == expert).any(axis=1).mean()
                for token in tokens
            ]
            for part in parts
        ]
        varied = len(tokens) >= 3 and all(np.ptp(share) > 0 for share in shares)
        correlations.append(np.corrcoef(*shares)[0, 1] if varied else None)
    return len(tokens), correlations


def test_expert_card(assert_mart, layer_events, raw, connection):
    documents = raw["samples"].set_index(["run_id", "sample_id"])["document_sha256"]
    blocks = connection.table("dim_sample").df().set_index(["run_id", "sample_id"])["block"]
    rows = []
    for layer in layer_events:
        selections = layer.selected().sum(axis=0)
        load, tokens = layer.load(), len(layer.position)
        rates = selections / tokens
        half_tokens, correlations = halves(layer, blocks[layer.run_id])
        for expert, rate in enumerate(rates):
            rows.append(
                layer.keys
                | {
                    "expert": expert,
                    "selections": selections[expert],
                    "load_share": load[expert] / load.sum(),
                    "load_ratio": load[expert] / load.mean(),
                    "selection_rate": rate,
                    "top_tokens": top_tokens(layer, expert, rate),
                    "neighbours": neighbours(layer, expert, rates),
                    "domains": domains(layer, expert, rate, documents[layer.run_id])
                    if selections[expert]
                    else [],
                    "contexts": contexts(layer, expert),
                    "half_tokens": half_tokens,
                    "half_correlation": correlations[expert],
                }
            )
    expected = pd.DataFrame(rows)
    told = expected["domains"].explode().dropna()
    assert any(each["z"] is not None for each in told)
    assert any(each["log2_lift"] is None for each in told)
    assert expected["half_correlation"].notna().any()
    for name in ("top_tokens", "neighbours", "contexts"):
        assert expected[name].map(len, na_action="ignore").max() >= 3, name
    assert_mart("fct_expert_card", ["run_id", "layer", "expert"], expected)


def test_documents_dealt_at_random_have_the_mean_and_the_spread_that_z_assumes():
    """By really dealing them."""
    generator = np.random.default_rng(3)
    sizes = generator.integers(5, 200, size=60)
    chosen = generator.binomial(sizes, generator.beta(2, 6, size=60))
    rate = chosen.sum() / sizes.sum()
    residuals = chosen - rate * sizes
    dealt = [generator.permutation(residuals)[:20].sum() for _ in range(20_000)]
    squares = (chosen**2).sum() - 2 * rate * (chosen * sizes).sum() + rate**2 * (sizes**2).sum()
    variance = 20 * 40 / (60 * 59) * squares
    assert abs(np.mean(dealt)) < 4 * np.sqrt(variance / 20_000)
    assert np.var(dealt) / variance == np.clip(np.var(dealt) / variance, 0.95, 1.05)


def test_a_random_router_has_no_speciality(connection):
    """Its experts are drawn without a look at the domain, so what is found is chance."""
    query = "select unnest(domains, recursive := true) from fct_expert_card order by all"
    z = connection.sql(query).df()["z"].to_numpy(dtype=float)
    judged = discoveries(z)
    assert judged.tests >= 20
    assert judged.discoveries <= FALSE_DISCOVERY_RATE * judged.tests
