"""How many cards fit into a page: of many experts the busiest, of many cards a short form."""

import dataclasses
from dataclasses import dataclass

import pandas as pd

from gatehouse.reports.marts.expert_cards import ExpertCards

MOST_BYTES = 1_200_000
LAYER_BYTES = 16_000
LEAST_BYTES = 200_000
"""What all cards may take, less for each layer, since other charts take more with each of them."""

MOST_DOMAINS = 12
SHORT = {"tokens": 5, "neighbours": 5, "contexts": 2}
"""How many entries a card in its short form has at most."""

NUMBER_BYTES = 2.7
"""Two bytes in base64."""

TOKEN_BYTES = 24
WORD_BYTES = 4
"""What the strings of a token and of a word of a context take: words repeat."""


@dataclass(frozen=True)
class Kept:
    """The cards that fit: `most` of each layer, all of them `short` or whole."""

    cards: ExpertCards
    most: int
    short: bool


def kept(cards: ExpertCards) -> Kept:
    """Return the cards that fit into a page, the busiest experts' first.

    All have a card in full if they fit so, otherwise in the short form.
    """
    layers = max(cards.experts["moe_index"].nunique(), 1)
    widest = int(cards.experts.groupby("moe_index").size().max())
    available = max(MOST_BYTES - LAYER_BYTES * layers, LEAST_BYTES) / layers
    most = int(available / _bytes_of_a_card(cards))
    if most >= widest:
        return Kept(cards, widest, False)
    short = _cut(cards, widest)
    most = min(max(int(available / _bytes_of_a_card(short)), 1), widest)
    return Kept(_cut(cards, most), most, True)


def _cut(cards: ExpertCards, most: int) -> ExpertCards:
    keys = ["moe_index", "expert"]
    experts = cards.experts[cards.experts.groupby("moe_index").cumcount() < most]
    cut = {name: getattr(cards, name).merge(experts[keys], on=keys) for name in (*SHORT, "domains")}
    for name, entries in SHORT.items():
        cut[name] = cut[name][cut[name].groupby(keys).cumcount() < entries]
    return dataclasses.replace(cards, experts=experts, **cut)


def _bytes_of_a_card(cards: ExpertCards) -> float:
    """Return what the largest card takes in the page, about."""
    tokens, neighbours, contexts = (longest(getattr(cards, name)) for name in SHORT)
    words = longest_context(cards.contexts)
    domains = min(longest(cards.domains), MOST_DOMAINS)
    numbers = 6 + 2 * tokens + 3 * neighbours + 3 * domains + contexts * (4 + words)
    return NUMBER_BYTES * numbers + TOKEN_BYTES * tokens + WORD_BYTES * contexts * words


def longest(entries: pd.DataFrame) -> int:
    """Return how many entries the longest list of a card has."""
    return int(entries.groupby(["moe_index", "expert"]).size().max()) if len(entries) else 0


def longest_context(contexts: pd.DataFrame) -> int:
    """Return how many tokens the longest context has."""
    return int(contexts["token_ids"].map(len).max()) if len(contexts) else 0
