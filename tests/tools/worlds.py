"""Two families of made-up corpora, whose documents are few, bursty and of very unequal length.

In `topics` a document has one topic, a length of a Pareto law, and tokens that repeat at once. The
form of the intervals was chosen on it. `drifts` has other laws: lognormal lengths, topics that move
within a document as AR(1), and negative binomial counts of tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gatehouse.reports.statistics.blocks import Blocks

TOPICS, DIRECTIONS = 10, 3
SHORTEST, MEDIAN, PASSAGE = 20, 30, 20
"""Occurrences: of a shortest and a median document, and of a passage that keeps its topic."""
PERSISTENCE = 0.8
LARGEST_ENTROPY = np.log(8)


@dataclass(frozen=True)
class Setting:
    """A world, how much of it a corpus holds, and how often that is tried.

    `family` is "topics" or "drifts"; `tail` is Pareto's shape, or the standard deviation of the log
    of a length. `topic` and `document` are how strongly topics choose tokens (standard deviation of
    the log of a token's share) and topics and documents shift entropies (standard deviation, nats).
    `burst` is how often a token is repeated at once, or the variance of a document's own taste for
    a token. `level` is the entropy of the rarest tokens, nats.
    """

    family: str = "topics"
    tail: float = np.inf
    documents: int = 256
    blocks: int = 64
    topic: float = 1.0
    document: float = 0.2
    burst: float = 1.0
    level: float = 1.1
    tokens: int = 400
    corpora: int = 200
    seed: int = 0


def corpora(setting: Setting, *, dealt: str = "documents") -> Iterator[Blocks]:
    """Yield the blocks of simulated corpora; `dealt` names what is dealt to blocks in turn."""
    world = np.random.default_rng(setting.seed)
    share = 1 / np.arange(1, setting.tokens + 1)
    share /= share.sum()
    base = setting.level - 0.2 * np.log(share * setting.tokens)
    base += world.normal(0, 0.3, setting.tokens)
    family = {"topics": _topics, "drifts": _drifts}[setting.family]
    for number, (document, token, count, entropy) in enumerate(family(setting, share, base, world)):
        block = document
        if dealt == "occurrences":
            block = np.random.default_rng([setting.seed, number]).permutation(token.size)
        cell = block % setting.blocks * setting.tokens + token
        shape = (setting.blocks, setting.tokens)
        sums = [
            np.bincount(cell, weights, setting.blocks * setting.tokens).reshape(shape)
            for weights in (count, count * np.clip(entropy, 0, LARGEST_ENTROPY))
        ]
        seen = np.flatnonzero(sums[0].sum(axis=0))
        yield Blocks(seen, sums[0][:, seen], sums[1][:, seen])


Rows = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Document, token, occurrences and their mean entropy: of each burst, or token of a document."""


def _topics(
    setting: Setting, share: np.ndarray, base: np.ndarray, random: np.random.Generator
) -> Iterator[Rows]:
    of_topic = share * np.exp(setting.topic * random.normal(size=(TOPICS, setting.tokens)))
    of_topic = np.cumsum(of_topic / of_topic.sum(axis=1, keepdims=True), axis=1)
    of_topic[:, -1] = 1
    ladder = (of_topic + np.arange(TOPICS)[:, None]).ravel()
    shift = setting.document * random.normal(size=(TOPICS, setting.tokens))
    for _ in range(setting.corpora):
        lengths = SHORTEST * random.random(setting.documents) ** (-1 / setting.tail)
        bursts = np.maximum(1, random.poisson(np.minimum(lengths, 200_000) / setting.burst))
        document = np.repeat(np.arange(setting.documents), bursts)
        topic = random.integers(0, TOPICS, setting.documents)[document]
        step = np.searchsorted(ladder, topic + random.random(topic.size), side="right")
        token = step - topic * setting.tokens
        count = random.geometric(1 / setting.burst, token.size)
        of_document = setting.document * random.normal(size=setting.documents)
        entropy = base[token] + shift[topic, token] + of_document[document]
        yield document, token, count, entropy + _noise(count, random)


def _drifts(
    setting: Setting, share: np.ndarray, base: np.ndarray, random: np.random.Generator
) -> Iterator[Rows]:
    chooses, shifts = random.normal(0, DIRECTIONS**-0.5, (2, DIRECTIONS, setting.tokens))
    for _ in range(setting.corpora):
        lengths = MEDIAN * np.exp(setting.tail * random.normal(size=setting.documents))
        passages = np.ceil(lengths / PASSAGE).astype(int)
        first = np.cumsum(passages) - passages
        place = _drift(passages, random)
        rates = share * np.exp(setting.topic * place @ chooses)
        rates /= rates.sum(axis=1, keepdims=True)
        rates = np.add.reduceat(rates, first) * (lengths / passages)[:, None]
        taste = random.gamma(1 / setting.burst, setting.burst, rates.shape)
        counts = random.poisson(rates * taste)
        counts[:, 0] += counts.sum(axis=1) == 0
        document, token = np.nonzero(counts)
        count = counts[document, token]
        shift = (np.add.reduceat(place, first) / passages[:, None]) @ shifts
        shift += random.normal(size=(setting.documents, 1))
        entropy = base[token] + setting.document * shift[document, token]
        yield document, token, count, entropy + _noise(count, random)


def _drift(passages: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return (all passages, DIRECTIONS): AR(1) of variance 1 that begins anew in each document."""
    place = random.normal(size=(passages.sum(), DIRECTIONS))
    first = np.zeros(len(place), dtype=bool)
    first[np.cumsum(passages) - passages] = True
    innovation = np.sqrt(1 - PERSISTENCE**2)
    for row in np.flatnonzero(~first):
        place[row] = PERSISTENCE * place[row - 1] + innovation * place[row]
    return place


def _noise(count: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 0.3 * random.normal(size=count.size) / np.sqrt(count)
