"""The section on each expert by itself: what it is chosen for, and what of that is chance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatehouse.reports import statistics
from gatehouse.reports.marts.expert_cards import ExpertCards
from gatehouse.reports.marts.untold import EVENTS
from gatehouse.reports.page.chart import Chart, Group
from gatehouse.reports.page.packing import Packed, packed, plain
from gatehouse.reports.page.sections.card_lists import Entries, Vocabulary
from gatehouse.reports.statistics import FALSE_DISCOVERY_RATE, Discoveries
from gatehouse.reports.verdict.findings import AssessedRun

CARDS = Chart(
    "cards",
    "What each expert is chosen for",
    "Lift is how many times more often than by the expert's load alone. Choose an expert from the "
    "list, the busiest first, or step through it with the arrow keys.",
    wide=True,
    needs=frozenset({EVENTS}),
)
SECTION = Group("expert-cards", "Expert cards", (CARDS,))

CARD_BYTES = 450_000
"""The most that cards may take before base64: of many experts only the busiest have one."""

MOST_DOMAINS = 12
HUNDREDTHS = 100
THOUSANDTHS = 1000


@dataclass(frozen=True)
class _Shape:
    """How many entries a card has room for."""

    tokens: int
    neighbours: int
    domains: int
    contexts: int
    words: int

    @property
    def card_bytes(self) -> int:
        """What one card takes: indices and measures of two bytes, samples of four."""
        own = 12 + 4 * self.tokens + 5 * self.neighbours + 7 * self.domains
        return own + self.contexts * (7 + 2 * self.words)


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
    shape = _shape(cards, len(names))
    layers = [int(index) for index in assessed.marts.layers["moe_index"]]
    most = max(CARD_BYTES // (shape.card_bytes * len(layers)), 1)
    shown = cards.experts[cards.experts.groupby("moe_index").cumcount() < most]
    texts = Vocabulary(cards, shown)
    return {
        CARDS.stem: {
            "advice": _sentences(judged, assessed.marts.layers, most, domains, names),
            "domains": names,
            "words": texts.words(),
            "tokens": texts.tokens(),
            "layers": [
                _layer(shown[shown["moe_index"] == index], cards, domains, texts, shape, names)
                for index in layers
            ],
        }
    }


def _largest_domains(domains: pd.DataFrame) -> list[str]:
    sizes = domains.groupby("domain")["tokens"].max()
    return [str(name) for name in sizes.sort_values(ascending=False).index[:MOST_DOMAINS]]


def _shape(cards: ExpertCards, domains: int) -> _Shape:
    sizes = [
        int(frame.groupby(["moe_index", "expert"]).size().max()) if len(frame) else 0
        for frame in (cards.tokens, cards.neighbours, cards.contexts)
    ]
    words = int(cards.contexts["token_ids"].map(len).max()) if len(cards.contexts) else 0
    return _Shape(sizes[0], sizes[1], domains, sizes[2], words)


def _sentences(
    judged: Discoveries,
    layers: pd.DataFrame,
    most: int,
    domains: pd.DataFrame,
    names: list[str],
) -> list[str]:
    """Return what is said above the cards: of the tests together, and of what is left out."""
    said = [_of_tests(judged)]
    widest = int(layers["num_experts"].max())
    if most < widest:
        said.append(
            f"Of each layer the {most} busiest of up to {widest} experts have a card here; the "
            "table fct_expert_card has every one."
        )
    if (there := domains["domain"].nunique()) > len(names):
        said.append(
            f"The bars are of the {len(names)} domains with the most tokens, of {there:,}; all of "
            "them were tested."
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
        f"{judged.discoveries:,} of the {there} {verb} at {limit}, of which about "
        f"{FALSE_DISCOVERY_RATE:.0%} are expected to be chance; the others are within what chance "
        "gives where documents are dealt to domains at random."
    )


def _layer(
    experts: pd.DataFrame,
    cards: ExpertCards,
    domains: pd.DataFrame,
    texts: Vocabulary,
    shape: _Shape,
    names: list[str],
) -> dict[str, Any]:
    """Return the cards of one layer's experts, in their order."""
    order = experts["expert"].to_list()
    index = experts["moe_index"].iloc[0] if len(experts) else -1
    halves = experts["half_tokens"].dropna()

    def of_layer(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame["moe_index"] == index) & frame["expert"].isin(order)]

    content: dict[str, Any] = {
        "expert": plain(order),
        "load_ratio": plain(experts["load_ratio"]),
        "load_share": plain(experts["load_share"]),
        "half_tokens": int(halves.iloc[0]) if len(halves) else None,
        "half_correlation": plain(experts["half_correlation"]),
        **_neighbours(Entries(of_layer(cards.neighbours), order, shape.neighbours)),
        **_domains(of_layer(domains), order, names),
    }
    if shape.tokens:
        table = Entries(of_layer(cards.tokens), order, shape.tokens)
        ids = table.numbers("token_id")
        places = texts.places(np.nan_to_num(ids).astype(np.int64), of_words=False)
        content["token"] = packed(np.where(np.isnan(ids), np.nan, places))
        content["token_lift"] = packed(table.numbers("lift"), HUNDREDTHS)
    if shape.contexts:
        content |= _contexts(Entries(of_layer(cards.contexts), order, shape.contexts), texts, shape)
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


def _contexts(table: Entries, texts: Vocabulary, shape: _Shape) -> dict[str, Packed]:
    ids = table.lists("token_ids", shape.words)
    places = texts.places(np.nan_to_num(ids).astype(np.int64), of_words=True)
    return {
        "context": packed(np.where(np.isnan(ids), np.nan, places)),
        "context_sample": packed(table.numbers("sample_id")),
        "context_position": packed(table.numbers("position")),
        "context_before": packed(table.numbers("tokens_before")),
    }
