"""How often intervals hold the truth, by simulation: `python -m tests.tools.calibration`.

Documents have a topic that chooses their tokens; both topics and single documents shift entropies.
The truth is the mean over samples of as many documents from the same world.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from gatehouse.reports.statistics.blocks import MEASURES, Blocks, Resampled
from gatehouse.reports.statistics.resampling import bootstrap, draws

FREQUENCY_THRESHOLD, ENTROPY_THRESHOLD = 10, 0.75
TOPICS = 10
LARGEST_ENTROPY = np.log(8)

OURS = "normal, t (Gatehouse's)"
OCCURRENCES = "the same over occurrences"
INDEPENDENT = "independent tokens"


@dataclass(frozen=True)
class Setting:
    """A world, how much of it a corpus holds, and how often that is tried.

    `topic` and `document` are how strongly topics choose tokens (standard deviation of the log of
    a token's share) and topics and documents shift entropies (standard deviation, nats).
    """

    topic: float = 1.0
    document: float = 0.2
    blocks: int = 64
    documents: int = 256
    length: int = 60
    tokens: int = 400
    corpora: int = 300
    replicates: int = 200


def corpora(setting: Setting, *, dealt: str = "documents", seed: int = 0) -> Iterator[Blocks]:
    """Yield the blocks of simulated corpora; `dealt` names what is dealt to blocks."""
    world = np.random.default_rng(seed)
    share = 1 / np.arange(1, setting.tokens + 1)
    expected = setting.documents * setting.length * share / share.sum()
    base = 1.5 - 0.2 * np.log(expected) + world.normal(0, 0.3, setting.tokens)
    of_topic = share * np.exp(setting.topic * world.normal(size=(TOPICS, setting.tokens)))
    of_topic = np.cumsum(of_topic / of_topic.sum(axis=1, keepdims=True), axis=1)
    of_topic[:, -1] = 1
    ladder = (of_topic + np.arange(TOPICS)[:, None]).ravel()
    shift = setting.document * world.normal(size=(TOPICS, setting.tokens))
    random = np.random.default_rng(seed + 1)
    for _ in range(setting.corpora):
        lengths = random.integers(setting.length // 3, setting.length * 5 // 3, setting.documents)
        document = np.repeat(np.arange(setting.documents), lengths)
        topic = random.integers(0, TOPICS, setting.documents)[document]
        step = np.searchsorted(ladder, topic + random.random(topic.size), side="right")
        token = step - topic * setting.tokens
        entropy = base[token] + shift[topic, token] + 0.3 * random.normal(size=token.size)
        entropy += setting.document * random.normal(size=setting.documents)[document]
        units = setting.documents if dealt == "documents" else token.size
        block = random.integers(0, setting.blocks, units)
        block = block[document] if dealt == "documents" else block
        yield _summed(block, token, np.clip(entropy, 0, LARGEST_ENTROPY))


def _summed(block: np.ndarray, token: np.ndarray, entropy: np.ndarray) -> Blocks:
    width = token.max() + 1
    cells, cell = np.unique(block * width + token, return_inverse=True)
    sums = (np.bincount(cell), np.bincount(cell, entropy))
    return Blocks.of_rows(cells // width, cells % width, *sums)


def intervals(blocks: Blocks, setting: Setting) -> np.ndarray:
    """Return (3, 3): estimate, low, high of each of the criteria, by `bootstrap`."""
    thresholds = (FREQUENCY_THRESHOLD, ENTROPY_THRESHOLD)
    found = bootstrap([blocks], *thresholds, replicates=setting.replicates).layers[0]
    each = [getattr(found, measure) for measure in MEASURES]
    return np.array([(one.estimate, one.low, one.high) for one in each])


def others(blocks: Blocks, setting: Setting) -> dict[str, np.ndarray]:
    """Return the same for other forms of interval, with rho as Fisher's z."""
    count = len(blocks.occurrences)
    weights = [np.ones((1, count)), draws(count, setting.replicates), 1 - np.eye(count)]
    resampled = Resampled(blocks.occurrences, np.vstack(weights), FREQUENCY_THRESHOLD)
    values = resampled.criteria(blocks.entropy_sum, ENTROPY_THRESHOLD)
    values[:, 0] = np.arctanh(values[:, 0])
    estimate, replicates, without = np.split(values, [1, setting.replicates + 1])
    estimate = estimate[0]
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0)
    error = np.sqrt((count - 1) * without.var(axis=0)) * stats.t.ppf(0.975, count - 1)
    tokens = blocks.token_id.size
    p = estimate[1:]
    apart = np.sqrt([1 / (tokens - 3), *(p * (1 - p) / tokens)]) * stats.norm.ppf(0.975)
    ends = {
        "percentile": (low, high),
        "basic": (2 * estimate - high, 2 * estimate - low),
        "BCa": _corrected(estimate, replicates, without),
        "delete-one jackknife, t": (estimate - error, estimate + error),
        INDEPENDENT: (estimate - apart, estimate + apart),
    }
    return {name: np.stack([estimate, *both], axis=1) for name, both in ends.items()}


def _corrected(
    estimate: np.ndarray, replicates: np.ndarray, without: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of Efron's (1987) bias-corrected and accelerated interval."""
    count = len(replicates)
    under = np.clip((replicates < estimate).mean(axis=0), 1 / (count + 1), count / (count + 1))
    bias = stats.norm.ppf(under)
    apart = without.mean(axis=0) - without
    acceleration = (apart**3).sum(axis=0) / (6 * (apart**2).sum(axis=0) ** 1.5)
    ends = []
    for level in (0.025, 0.975):
        moved = bias + stats.norm.ppf(level)
        levels = stats.norm.cdf(bias + moved / (1 - acceleration * moved))
        ends.append(np.array([np.quantile(*each) for each in zip(replicates.T, levels)]))
    return ends[0], ends[1]


def held(found: np.ndarray) -> np.ndarray:
    """Return (3,): the share of (corpora, 3, 3) intervals that hold the mean of the estimates."""
    truth = found[:, :, 0].mean(axis=0)
    return ((found[:, :, 1] <= truth) & (truth <= found[:, :, 2])).mean(axis=0)


def coverage(setting: Setting, *, dealt: str = "documents") -> np.ndarray:
    """Return (3,): how often Gatehouse's intervals hold the truth."""
    made = corpora(setting, dealt=dealt)
    return held(np.array([intervals(blocks, setting) for blocks in made]))


def table_of(setting: Setting) -> dict[str, np.ndarray]:
    """Return (3,) for every form."""
    found = [others(blocks, setting) for blocks in corpora(setting)]
    table = {OURS: coverage(setting), OCCURRENCES: coverage(setting, dealt="occurrences")}
    return table | {name: held(np.array([each[name] for each in found])) for name in found[0]}


SETTINGS = {
    "64 blocks": Setting(),
    "16 blocks": Setting(blocks=16),
    "8 blocks": Setting(blocks=8),
    "no document effect": Setting(topic=0.0, document=0.0),
    "strong document effect": Setting(topic=1.5, document=0.5),
    "3,000 token types": Setting(tokens=3000),
    "1,024 documents": Setting(documents=1024),
}


def main() -> None:
    """Print how often each form of interval holds the truth; the target is 95 %."""
    table = Table("setting", "interval", *MEASURES)
    for name, setting in SETTINGS.items():
        for form, shares in table_of(setting).items():
            table.add_row(name, form, *(f"{share:.1%}" for share in shares))
            name = ""
        table.add_section()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
