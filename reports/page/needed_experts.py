"""What charts draw and say of how many experts text needs: a token, a batch, keeping, tuning."""

from typing import Any

import pandas as pd

from gatehouse.reports.inference import batch_experts, keep_sets, tuning
from gatehouse.reports.inference.adaptive_k import adaptive_rules, fewest_that_keep
from gatehouse.reports.inference.cache_sentences import PHASES
from gatehouse.reports.marts import Marts
from gatehouse.reports.marts.needed_experts import TUNED_SHARES
from gatehouse.reports.page.packing import plain


def adaptive(marts: Marts) -> dict[str, Any]:
    """Return retained gate mass by experts of a token, a curve for each rule."""
    if marts.layers["top_k"].max() == 1:
        reason = "The router selects one expert for each token: there is none to drop."
        return {"advice": [], "empty": reason}
    rules = adaptive_rules(marts.adaptive_k)
    return {
        "advice": [fewest_that_keep(rules)] if rules else [],
        "rules": {
            each.name: {
                "thresholds": plain(each.thresholds),
                "experts": plain(each.experts),
                "retained": plain(each.retained),
            }
            for each in rules
        },
        "all_experts": rules[0].all_experts if rules else None,
    }


def batches(marts: Marts) -> dict[str, Any]:
    """Return the distinct experts of a layer by the size of a batch, for each kind and phase."""
    found = batch_experts.batches(marts.batch_experts)
    num_experts = float(marts.layers["num_experts"].mean())
    advice = []
    for each in found:
        sentence = each.sentence(num_experts)
        if sentence:
            named = f"{PHASES[each.phase].capitalize()}: {sentence}"
            advice.append(named if len(found) > 1 else sentence)
    return {
        "advice": advice,
        "num_experts": num_experts,
        "kinds": {
            kind: [
                {
                    "phase": each.phase,
                    "name": PHASES[each.phase].capitalize(),
                    "sizes": plain(each.sizes[kind]),
                    "experts": plain(each.experts[kind]),
                    "chance": plain(each.chance[kind]),
                }
                for each in found
                if kind in each.sizes
            ]
            for kind in batch_experts.KINDS
        },
    }


def kept(marts: Marts) -> dict[str, Any]:
    """Return the overlap of keep sets by the share of the text, for each ranking and share kept."""
    num_experts = [int(each) for each in marts.layers["num_experts"]]
    found = keep_sets.keep_sets(marts.keep_sets)
    if not any(len(each.text_shares) > 1 for each in found):
        return {"advice": [], "panels": []}
    sentences = [
        keep_sets.halves_agree(found, num_experts),
        keep_sets.rankings_agree(marts.rankings),
    ]
    shares = sorted({each.keep_share for each in found})
    return {
        "advice": [sentence for sentence in sentences if sentence],
        "names": keep_sets.MEASURES,
        "panels": [
            {
                "keep_share": share,
                "chance": keep_sets.chance_jaccard(num_experts, share),
                "measures": {
                    each.measure: {
                        "text_shares": plain(each.text_shares),
                        "jaccard": plain(each.jaccard),
                        "halves": None
                        if each.halves is None
                        else plain([each.halves.text_share, each.halves.jaccard]),
                    }
                    for each in found
                    if each.keep_share == share
                },
            }
            for share in shares
        ],
    }


def tuned(marts: Marts) -> dict[str, Any]:
    """Return how many experts of a layer ESFT would train, for all text and for each domain."""
    num_experts = [int(each) for each in marts.layers["num_experts"]]
    texts = tuning.tuned_texts(marts.tuning)
    if not texts:
        return {"advice": [], "rows": []}
    choices = [
        (relevance, share)
        for relevance in tuning.RELEVANCES
        for share in TUNED_SHARES
        if (relevance, share) in texts[0].trained
    ]
    tokens = marts.domain_expert.groupby("domain")["domain_tokens"].max().to_dict()
    tokens[None] = pd.to_numeric(marts.layers["events"]).max()
    return {
        "advice": [tuning.experts_to_train(texts, num_experts)],
        "choices": [
            f"{tuning.RELEVANCES[relevance]}, p = {share:g}" for relevance, share in choices
        ],
        "even": plain(tuning.even_shares(num_experts, share) for _, share in choices),
        "rows": [
            {
                "text": "all text" if each.domain is None else each.domain,
                "tokens": plain([tokens.get(each.domain)])[0],
                "trained": [
                    [found.mean, found.fewest, found.most]
                    if (found := each.trained.get(choice))
                    else None
                    for choice in choices
                ],
            }
            for each in texts
        ],
    }
