"""What has moved over the runs of a series, in sentences that their numbers entail."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from gatehouse.reports.marts.trends import DRIFTS, MEASURED
from gatehouse.reports.statistics import holm
from gatehouse.reports.statistics.trend import LEAST_RUNS, Trend, trend
from gatehouse.warehouse.plain_text import in_words

LEVEL = 0.05
"""Of p values after Holm's correction for all measures of the page."""


def _decimal(value: float) -> str:
    return f"{value:.3g}"


def _nats(value: float) -> str:
    return f"{value:.3f} nats"


def _share(value: float) -> str:
    return f"{value:.1%}"


@dataclass(frozen=True)
class Measure:
    """A column of the trend: what it is called, how its numbers are written."""

    name: str
    words: Callable[[float], str]


MEASURES: Mapping[str, Measure] = {
    "max_load_ratio": Measure("the busiest expert's load by the fair share", _decimal),
    "mean_entropy": Measure("mean entropy", _nats),
    "held_out_consistency": Measure("held-out consistency", _share),
    "shared_load_with_first": Measure("the load shared with the first run", _share),
    "keep_set_overlap_with_first": Measure("the keep sets' overlap with the first run's", _share),
}
"""What is tested for a trend; each is averaged over the layers."""


def averages(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over the layers of every number, a row for each run in their order.

    Args:
        rows: those of `reports.marts.trends.run_trend`.
    """
    numbers = [*MEASURED, *DRIFTS]
    return rows.groupby("run_id", sort=False)[numbers].mean()


def sentences(rows: pd.DataFrame) -> list[str]:
    """Return what has moved, and what else changed between the runs.

    Args:
        rows: those of `reports.marts.trends.run_trend`.
    """
    means = averages(rows)
    if len(means) == 1:
        return ["There is one run of this model, dataset and settings: nothing has moved yet."]
    found = {
        column: known
        for column in MEASURES
        if (known := trend(means[column].to_numpy(float))) is not None
    }
    if len(means) < LEAST_RUNS:
        moved = [_from_to(column, each) for column, each in found.items() if each.runs > 1]
        said = [f"{len(means)} runs are too few to tell a trend from chance."]
        if moved:
            said.append(f"From the first to the last, {in_words(moved)}.")
    else:
        said = _trends(found, len(means))
    return said + _changes(rows)


def _from_to(column: str, found: Trend) -> str:
    measure = MEASURES[column]
    return f"{measure.name} goes from {measure.words(found.first)} to {measure.words(found.last)}"


def _trends(found: Mapping[str, Trend], runs: int) -> list[str]:
    adjusted = dict(zip(found, holm([each.log10_p for each in found.values()]), strict=True))
    moving, still = [], []
    for column, each in found.items():
        log10_p, measure = adjusted[column], MEASURES[column]
        if each.tau is not None and log10_p is not None and 10**log10_p < LEVEL:
            tends = "up" if each.tau > 0 else "down"
            moving.append(
                f"Over {each.runs} runs, {measure.name} tends {tends} (Kendall's tau "
                f"{each.tau:+.2f}, p = {10**log10_p:.2g} after correction for {len(found)} "
                f"measures): the first has {measure.words(each.first)}, the last "
                f"{measure.words(each.last)}."
            )
        else:
            ends = (measure.words(each.least), measure.words(each.most))
            where = ends[0] if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]}"
            still.append(f"{measure.name} ({where})")
    if not still:
        return moving
    return [*moving, f"Over {runs} runs, no trend is seen in {in_words(still)}."]


def _changes(rows: pd.DataFrame) -> list[str]:
    """Return which runs have another model, or other software, than the one before."""
    runs = rows.drop_duplicates("run_id")
    said = []
    for columns, what in (
        (["model_fingerprint", "tokenizer_fingerprint"], "weights, config or tokenizer"),
        (["versions", "device"], "software or device"),
    ):
        facts = runs[columns].astype(str).agg("\n".join, axis=1)
        changed = _beginning(runs, facts)
        if changed:
            said.append(f"The {what} changed with {in_words(changed)}.")
    return said


def _beginning(runs: pd.DataFrame, facts: pd.Series) -> list[str]:
    is_other = facts.ne(facts.shift(fill_value=facts.iloc[0]))
    return [f"{row.run_id} ({row.started_at:%Y-%m-%d})" for row in runs[is_other].itertuples()]
