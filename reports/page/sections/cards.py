"""The section on each expert by itself: what it is chosen for, and what of that is chance."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports import statistics
from gatehouse.reports.marts.expert_cards import ExpertCards
from gatehouse.reports.marts.untold import EVENTS
from gatehouse.reports.page.chart import Chart, Group
from gatehouse.reports.page.packing import Packed, packed, plain
from gatehouse.reports.page.sections.card_budget import (
    MOST_DOMAINS,
    SHORT,
    Kept,
    kept,
    longest,
    longest_context,
)
from gatehouse.reports.page.sections.card_lists import Entries, Vocabulary
from gatehouse.reports.statistics import FALSE_DISCOVERY_RATE, Discoveries
from gatehouse.reports.verdict.findings import AssessedRun

CARDS = Chart(
    "cards",
    "What each expert is chosen for",
    "A lift is how many times as often as over all text: how often a token or a domain chooses the "
    "expert, or its tokens choose a neighbour. Choose an expert from the list, the busiest first, "
    "or step through it with the arrow keys.",
    wide=True,
    needs=frozenset({EVENTS}),
)
SECTION = Group("expert-cards", "Expert cards", (CARDS,))

HUNDREDTHS = 100
THOUSANDTHS = 1000


def for_cards(assessed: AssessedRun) -> dict[str, dict[str, Any]]:
    """Return the data of the cards by the id of their chart; nothing where the run has none.

    Lists of a layer's cards have a row for each of its experts in the order of `expert`; what a
    card has no entry for is missing. Of z there is the size: its sign is that of the logarithm of
    the lift. `discovery` is 1 where a domain is beyond chance, 0 where chance gives as much.
    """
    cards = assessed.marts.cards
    if cards.experts.empty:
        return {}
    judged = statistics.discoveries(cards.domains["z"].to_numpy(dtype=np.float64, na_value=np.nan))
    domains = cards.domains.assign(
        discovery=np.where(np.isnan(judged.p_values), np.nan, judged.found)
    )
    names = _largest_domains(domains)
    fitting = kept(dataclasses.replace(cards, domains=domains))
    texts = Vocabulary(fitting.cards)
    return {
        CARDS.stem: {
            "advice": [_of_tests(judged), *_left_out(fitting, assessed.marts.layers, domains)],
            "domains": names,
            "words": texts.words(),
            "tokens": texts.tokens(),
            "layers": [
                _layer(int(index), fitting.cards, texts, names)
                for index in assessed.marts.layers["moe_index"]
            ],
        }
    }


def _largest_domains(domains: pd.DataFrame) -> list[str]:
    sizes = domains.groupby("domain")["tokens"].max()
    return [str(name) for name in sizes.sort_values(ascending=False).index[:MOST_DOMAINS]]


def _left_out(fitting: Kept, layers: pd.DataFrame, domains: pd.DataFrame) -> list[str]:
    """Return what of the mart the cards lack, in words."""
    said = []
    widest = int(layers["num_experts"].max())
    if fitting.short:
        most = f"the {fitting.most} busiest of up to {widest}" if fitting.most < widest else "all"
        said.append(
            f"The cards are of {most} experts of each layer, with at most {SHORT['tokens']} tokens "
            f"and {SHORT['contexts']} contexts each; the table fct_expert_card has the rest."
        )
    if (there := domains["domain"].nunique()) > MOST_DOMAINS:
        said.append(
            f"The bars are of the {MOST_DOMAINS} domains with the most tokens, of {there:,}; all "
            "of them were tested."
        )
    return said


def _of_tests(judged: Discoveries) -> str:
    if not judged.tests:
        return (
            "Whether an expert prefers a domain is not tested: that takes two domains with enough "
            "documents."
        )
    limit = f"q \N{LESS-THAN OR EQUAL TO} {FALSE_DISCOVERY_RATE:g}"
    there = f"{judged.tests:,} tests of an expert and a domain"
    if not judged.discoveries:
        return (
            f"None of the {there} is a discovery at {limit}: the experts prefer domains no more "
            "than they would if documents were dealt to domains at random."
        )
    verb = "is a discovery" if judged.discoveries == 1 else "are discoveries"
    return (
        f"{judged.discoveries:,} of the {there} {verb} at {limit}, of which at most "
        f"about {FALSE_DISCOVERY_RATE:.0%} are expected to be chance; the others are within what "
        "chance gives where documents are dealt to domains at random."
    )


def _layer(index: int, cards: ExpertCards, texts: Vocabulary, names: list[str]) -> dict[str, Any]:
    """Return the cards of one layer's experts, in their order."""
    experts = cards.experts[cards.experts["moe_index"] == index]
    order = experts["expert"].to_list()
    halves = experts["half_tokens"].dropna()

    def entries(name: str) -> Entries:
        frame = getattr(cards, name)
        return Entries(frame[frame["moe_index"] == index], order, longest(frame))

    content: dict[str, Any] = {
        "expert": plain(order),
        "load_ratio": plain(experts["load_ratio"]),
        "load_share": plain(experts["load_share"]),
        "half_tokens": int(halves.iloc[0]) if len(halves) else None,
        "half_correlation": plain(experts["half_correlation"]),
        **_neighbours(entries("neighbours")),
        **_domains(cards.domains[cards.domains["moe_index"] == index], order, names),
    }
    if len(cards.tokens):
        table = entries("tokens")
        ids = table.numbers("token_id")
        places = texts.places(np.nan_to_num(ids).astype(np.int64), of_words=False)
        content["token"] = packed(np.where(np.isnan(ids), np.nan, places))
        content["token_lift"] = packed(table.numbers("lift"), HUNDREDTHS)
    if len(cards.contexts):
        width = longest_context(cards.contexts)
        content |= _contexts(entries("contexts"), texts, width)
    return content


def _neighbours(table: Entries) -> dict[str, Packed]:
    if not table.shape[1]:
        return {}
    return {
        "neighbour": packed(table.numbers("other_expert")),
        "neighbour_share": packed(table.numbers("probability"), THOUSANDTHS),
        "neighbour_lift": packed(table.numbers("lift"), HUNDREDTHS),
    }


def _domains(domains: pd.DataFrame, order: list[int], names: list[str]) -> dict[str, Packed]:
    def table(values: "pd.Series[float]") -> NDArray[np.float64]:
        wide = domains.assign(value=values.astype("Float64").astype(float)).pivot(
            index="expert", columns="domain", values="value"
        )
        return wide.reindex(index=order, columns=names).to_numpy(dtype=np.float64)

    lift = 2 ** domains["log2_lift"].astype(float)
    return {
        # no token of the domain selects the expert where the logarithm is null
        "domain_lift": packed(table(lift.fillna(0)), THOUSANDTHS),
        "domain_z": packed(table(domains["z"].astype(float).abs()), HUNDREDTHS),
        "discovery": packed(table(domains["discovery"])),
    }


def _contexts(table: Entries, texts: Vocabulary, width: int) -> dict[str, Packed]:
    ids = table.lists("token_ids", width)
    places = texts.places(np.nan_to_num(ids).astype(np.int64), of_words=True)
    return {
        "context": packed(np.where(np.isnan(ids), np.nan, places)),
        "context_sample": packed(table.numbers("sample_id")),
        "context_position": packed(table.numbers("position")),
        "context_before": packed(table.numbers("tokens_before")),
    }
