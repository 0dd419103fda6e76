"""Made-up cards of experts: everything drawn at random, but for one speciality in each layer."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from gatehouse.reports.marts.expert_cards import ExpertCards
from gatehouse.reports.marts.untold import ENTROPY, EVENTS, ORDER, TOKEN_IDS

TOKENS, NEIGHBOURS, CONTEXTS, BEFORE = 10, 5, 5, 8
DOMAINS = ("code", "maths <i>", "web")
PLANTED = (2, "code")
"""Expert and domain of the speciality."""

ODD_WORDS = (" the", "\n", "</script><b>", "\u202ereversed", "", "\t", "العربية", "e")


def made_up_cards(loads: Sequence[pd.DataFrame], ids: np.ndarray, top_k: int) -> ExpertCards:
    """Cards of every expert; the first one has no contexts.

    loads: `Marts.expert_load` of each layer.
    ids: of the run's tokens, the most frequent first.
    """
    random = np.random.default_rng(7)
    experts = pd.concat(loads).sort_values(
        ["moe_index", "load_share", "expert"], ascending=[True, False, True], ignore_index=True
    )
    rate = experts["load_share"] * top_k
    correlation = random.uniform(-0.1, 1, len(experts))
    told = experts[["moe_index", "expert", "load_share", "load_ratio"]].assign(
        selection_rate=rate, half_tokens=40, half_correlation=correlation
    )
    keys = told[["moe_index", "expert"]]
    company = keys if top_k > 1 else keys.head(0)
    return ExpertCards(
        experts=told,
        tokens=_entries(keys, TOKENS).pipe(_tokens, ids, random),
        neighbours=_entries(company, min(NEIGHBOURS, len(loads[0]) - 1)).pipe(
            _neighbours, len(loads[0]), random
        ),
        domains=_entries(keys, len(DOMAINS)).pipe(_domains, random),
        contexts=_entries(keys.iloc[1:], CONTEXTS).pipe(_contexts, ids, random),
        words=pd.DataFrame(
            {
                "token_id": ids,
                "token_str": [*ODD_WORDS, *(f" token{each}" for each in ids)][: len(ids)],
            }
        ),
    )


def _entries(keys: pd.DataFrame, each: int) -> pd.DataFrame:
    return keys.loc[keys.index.repeat(each)].reset_index(drop=True)


def _tokens(entries: pd.DataFrame, ids: np.ndarray, random) -> pd.DataFrame:
    return entries.assign(
        token_id=random.choice(ids, len(entries)),
        frequency=40,
        selections=30,
        lift=np.tile(np.linspace(6, 1.2, TOKENS), len(entries) // TOKENS),
    )


def _neighbours(entries: pd.DataFrame, experts: int, random) -> pd.DataFrame:
    place = entries.groupby(["moe_index", "expert"]).cumcount()
    return entries.assign(
        other_expert=(entries["expert"] + 1 + place) % experts,
        tokens=20,
        probability=random.uniform(0, 1, len(entries)),
        lift=2 - place / 4,
    )


def _domains(entries: pd.DataFrame, random) -> pd.DataFrame:
    domain = np.array(DOMAINS)[entries.groupby(["moe_index", "expert"]).cumcount()]
    z = random.normal(size=len(entries))
    planted = ((entries["expert"] == PLANTED[0]) & (domain == PLANTED[1])).to_numpy()
    z = np.where(planted, 9.0, z)
    lift = np.where(planted, 1.7, z / 10)
    none = (entries["expert"] == 1) & (domain == DOMAINS[2])
    return entries.assign(
        domain=domain,
        tokens=1000 + np.array([2, 1, 0])[entries.groupby(["moe_index", "expert"]).cumcount()],
        log2_lift=np.where(none, np.nan, lift),
        z=np.where(none, -2.0, z),
    )


def _contexts(entries: pd.DataFrame, ids: np.ndarray, random) -> pd.DataFrame:
    """The first of each card begins its sample, so that nothing stands before the token."""
    place = entries.groupby(["moe_index", "expert"]).cumcount()
    before = np.where(place == 0, 0, BEFORE)
    drawn = random.choice(ids[:60], (len(entries), 2 * BEFORE + 1))
    return entries.assign(
        sample_id=random.integers(0, 100_000, len(entries)),
        position=before + 3 * place,
        token_ids=[row[: BEFORE + 1 + own] for row, own in zip(drawn, before, strict=True)],
        tokens_before=before,
    )


def untold_cards(cards: ExpertCards, untold: Collection[str]) -> ExpertCards:
    """What the source of a run did not tell is null in its cards."""
    if EVENTS in untold:
        names = [field.name for field in dataclasses.fields(cards)]
        return ExpertCards(**{name: getattr(cards, name).head(0) for name in names})
    empty = ["contexts"] if {ENTROPY, ORDER, TOKEN_IDS} & set(untold) else []
    empty += ["tokens", "words"] * (TOKEN_IDS in untold)
    nulls = {"half_tokens": None, "half_correlation": None} if TOKEN_IDS in untold else {}
    bare = {name: getattr(cards, name).head(0) for name in empty}
    return dataclasses.replace(cards, experts=cards.experts.assign(**nulls), **bare)
