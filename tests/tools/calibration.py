"""How often intervals hold the truth, by simulation: `python -m tests.tools.calibration`.

The truth is the mean over samples of as many documents from the same world, with the same
thresholds. `tests.tools.worlds` has the worlds.
"""

import dataclasses

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from gatehouse.reports.statistics.blocks import MEASURES, Blocks, Resampled
from gatehouse.reports.statistics.resampling import bootstrap
from tests.tools.worlds import Setting, corpora

FREQUENCY_THRESHOLD, ENTROPY_THRESHOLD = 10, 0.75
REPLICATES = 200

OURS = "halves, Wilson (Gatehouse's)"
REPETITION = "draws with repetition, t"
OCCURRENCES = "Gatehouse's over occurrences"
INDEPENDENT = "independent tokens"


def intervals(blocks: Blocks) -> np.ndarray:
    """Return (3, 3): estimate, low, high of each criterion, nan where there is no interval."""
    thresholds = (FREQUENCY_THRESHOLD, ENTROPY_THRESHOLD)
    found = bootstrap([blocks], *thresholds, replicates=REPLICATES).layers[0]
    each = [getattr(found, measure) for measure in MEASURES]
    return np.array([(one.estimate, one.low, one.high) if one else [np.nan] * 3 for one in each])


def others(blocks: Blocks) -> dict[str, np.ndarray]:
    """Return the same for other forms of interval, with rho as Fisher's z."""
    count = len(blocks.occurrences)
    random = np.random.default_rng(0)
    drawn = random.multinomial(count, np.full(count, 1 / count), REPLICATES)
    weights = np.vstack([np.ones((1, count)), drawn, 1 - np.eye(count)])
    resampled = Resampled(blocks.occurrences, weights, FREQUENCY_THRESHOLD)
    values = resampled.criteria(blocks.entropy_sum, ENTROPY_THRESHOLD)
    values[:, 0] = np.arctanh(values[:, 0])
    estimate, replicates, without = np.split(values, [1, REPLICATES + 1])
    estimate = estimate[0]
    t = stats.t.ppf(0.975, count - 1)
    drawn = t * replicates.std(axis=0, ddof=1)
    left_out = t * np.sqrt((count - 1) * without.var(axis=0))
    tokens, p = blocks.token_id.size, estimate[1:]
    apart = np.sqrt([1 / (tokens - 3), *(p * (1 - p) / tokens)]) * stats.norm.ppf(0.975)
    ends = {
        REPETITION: (estimate - drawn, estimate + drawn),
        "percentile": tuple(np.quantile(replicates, [0.025, 0.975], axis=0)),
        "delete-one jackknife, t": (estimate - left_out, estimate + left_out),
        INDEPENDENT: (estimate - apart, estimate + apart),
    }
    return {name: np.stack([estimate, *both], axis=1) for name, both in ends.items()}


def held(found: np.ndarray) -> np.ndarray:
    """Return (3,): the share of (corpora, 3, 3) intervals that hold the mean of the estimates."""
    truth = np.nanmean(found[:, :, 0], axis=0)
    holds = (found[:, :, 1] <= truth) & (truth <= found[:, :, 2])
    return holds.mean(axis=0, where=np.isfinite(found[:, :, 0]))


def coverage(setting: Setting, *, dealt: str = "documents") -> np.ndarray:
    """Return (3,): how often Gatehouse's intervals hold the truth."""
    return held(np.array([intervals(blocks) for blocks in corpora(setting, dealt=dealt)]))


def table_of(setting: Setting) -> dict[str, np.ndarray]:
    """Return (3,) for every form; that over occurrences only at the usual number of documents."""
    found = [{OURS: intervals(blocks)} | others(blocks) for blocks in corpora(setting)]
    table = {name: held(np.array([each[name] for each in found])) for name in found[0]}
    if setting.documents == Setting.documents:
        table[OCCURRENCES] = coverage(setting, dealt="occurrences")
    return table


TOPICS = [
    Setting(tail=tail, topic=topic, document=document, burst=burst, seed=seed)
    for seed, tail in enumerate((1.2, 1.5, 2.0))
    for topic, document, burst in ((1.0, 0.2, 2.0), (1.5, 0.5, 3.0))
]
DRIFTS = [
    Setting("drifts", tail, topic=topic, document=document, burst=2.0, level=level, seed=seed)
    for seed, tail in enumerate((1.0, 1.5), start=1_000)
    for topic, document, level in ((0.7, 0.2, 1.1), (1.2, 0.4, 0.9), (1.2, 0.4, 1.6))
]
SIZES = {"8 documents": (8, 8)} | {f"64 blocks of {each}": (64 * each, 64) for each in (1, 4, 16)}
EASY = {
    "equal lengths": [Setting()],
    "equal lengths, 16 blocks": [Setting(blocks=16)],
    "equal lengths, strong topics": [Setting(topic=1.5, document=0.5, burst=3.0, documents=1024)],
    "equal lengths, 3,000 token types": [Setting(tokens=3_000)],
}


def groups() -> dict[str, list[Setting]]:
    """Return what each row of the table is about."""
    found = {}
    for family, worlds in {"topics": TOPICS, "drifts": DRIFTS}.items():
        for name, (documents, blocks) in SIZES.items():
            found[f"{family}, {name}"] = [
                dataclasses.replace(world, documents=documents, blocks=blocks) for world in worlds
            ]
    return found | EASY


def main() -> None:
    """Print how often each form of interval holds the truth: mean and least of the settings."""
    console = Console(width=120)
    for name, settings in groups().items():
        tables = [table_of(setting) for setting in settings]
        size = f"{name}: {len(settings)} settings, {settings[0].corpora} corpora each"
        table = Table(size, *MEASURES, min_width=110)
        for form in tables[0]:
            shares = 100 * np.array([each[form] for each in tables])
            cells = zip(shares.mean(axis=0), shares.min(axis=0))
            table.add_row(form, *(f"{mean:.1f} ({least:.0f})" for mean, least in cells))
        console.print(table)


if __name__ == "__main__":
    main()
