"""A made-up run of a trace: what its source did not tell is null in its marts."""

import dataclasses
from functools import cache

import numpy as np

from gatehouse.reports.marts.untold import ENTROPY, EVENTS, ORDER, TOKEN_IDS, WEIGHTS
from gatehouse.reports.verdict.findings import AssessedRun
from tests.reports.made_up_cards import untold_cards
from tests.reports.made_up_page import made_up_page

OF_ENTROPY = ["mean_entropy", "normalised_entropy", "mean_confidence"]
OF_EVENTS = ["events", "samples", "tokens", "duplicate_samples", "dropped_tokens"]
OF_ORDER = ["routing_consistency", "held_out_consistency", "top_expert", "first_choice_share"]


def untold_page(*untold: str) -> AssessedRun:
    """A run without a verdict, as its page takes it; `untold` is of `reports.marts.untold`."""
    told = _told()
    names = [field.name for field in dataclasses.fields(told.marts) if field.name != "cards"]
    marts = {name: getattr(told.marts, name) for name in names}
    nulls = OF_ENTROPY * (ENTROPY in untold) + OF_ORDER * (ORDER in untold)
    if ORDER in untold:
        kinds = ("first_choice_repetition", "first_or_second_repetition")
        nulls += [*kinds, "first_choice_chance_by_load"]
    for name, frame in marts.items():
        marts[name] = frame.assign(**{each: np.nan for each in nulls if each in frame})
    empty = ["agreement", "thresholds"] + ["transition"] * (ORDER in untold)
    # a trace has no model to replay
    empty += ["replays", "replay_documents", "replay_layers"]
    empty += ["tokens", "frequency_rank"] * (TOKEN_IDS in untold)
    of_events = ["cached_documents", "shared_caches", "predictions", "calibration"]
    of_events += ["coactivation", "repetition", "domain_expert"]
    of_events += ["adaptive_k", "batch_experts", "keep_sets"]
    empty += ["adaptive_k", "rankings"] * (WEIGHTS in untold)
    empty += of_events * (EVENTS in untold)
    marts |= {name: marts[name].head(0) for name in empty}
    if WEIGHTS in untold:
        marts["keep_sets"] = marts["keep_sets"].query("measure == 'selections'")
        marts["tuning"] = marts["tuning"].query("relevance == 'selection'")
    if {ENTROPY, ORDER} & set(untold):
        marts["adaptive_k"] = marts["adaptive_k"].query("rule == 'weight'")
    if EVENTS in untold:
        marts["tuning"] = marts["tuning"][marts["tuning"]["domain"].isna()]
        marts["layers"] = marts["layers"].assign(events=None)
        whole = marts["load_windows"].groupby(["moe_index", "expert"], as_index=False).sum()
        marts["load_windows"] = whole.assign(load_window=np.nan, split=None)
    if TOKEN_IDS in untold:
        by_id = marts["predictions"]["predictor"].isin(["token", "bigram"])
        marts["predictions"] = marts["predictions"][~by_id]
        marts["layers"] = marts["layers"].assign(token_types=None, routing_consistency=None)
    run = told.run | {"source": "warp", "has_token_ids": TOKEN_IDS not in untold}
    if EVENTS in untold:
        run |= {"source": "counts"} | dict.fromkeys(OF_EVENTS)
    cards = untold_cards(told.marts.cards, untold)
    return AssessedRun(run, dataclasses.replace(told.marts, cards=cards, **marts), [], None, untold)


@cache
def _told() -> AssessedRun:
    return made_up_page()
