"""The runs of one series as one HTML page: what moved, and each number run by run."""

from typing import Any

import pandas as pd

from gatehouse.reports.marts.facts import how_computed
from gatehouse.reports.marts.trends import DRIFTS, MEASURED
from gatehouse.reports.page.chart import Chart
from gatehouse.reports.page.html import rendered
from gatehouse.reports.page.packing import columns, plain, script_json
from gatehouse.reports.page.report import CORE, scripts
from gatehouse.reports.page.runs.trend_sentences import averages, sentences
from gatehouse.warehouse.plain_text import counted

SCRIPTS = (*CORE, "charts/trend.js")
NONE = "\N{EN DASH}"
WHEN = "%Y-%m-%d %H:%M"

BALANCE = Chart(
    "balance",
    "Load balance",
    "The load of the busiest expert by that of an average one, 1 = balanced; and how many experts "
    "have no load.",
    of_layer=False,
    wide=True,
)
CHARTS = {
    BALANCE: ("max_load_ratio", "dead_experts"),
    Chart(
        "entropy",
        "Entropy",
        "The mean entropy of the router's distribution, in nats.",
        of_layer=False,
    ): ("mean_entropy",),
    Chart(
        "consistency",
        "Consistency",
        "How often a token goes to the expert that it goes to most in the other half of the "
        "documents: unlike in-sample consistency, it does not depend on how much text a run read.",
        of_layer=False,
    ): ("held_out_consistency",),
    Chart(
        "drift",
        "Drift",
        "What of the load is on the same experts as in the run before and in the first one; and "
        "how many of the half of the experts that are chosen most, the keep set, both have. What "
        "falls from the first but not from the run before creeps; what falls from both has jumped.",
        of_layer=False,
        wide=True,
    ): DRIFTS,
}
"""Each chart with the columns that it draws."""

LIMITS = (
    "The runs of a series have the model's name, the dataset, the maximum length, windows, "
    "precision and generation in common; what else changed between them is said above.",
    "Runs read other samples of the dataset: text that changes its kind moves the numbers as a "
    "model that changes does.",
    "A trend is Kendall's rank correlation with the order of the runs, p two-sided and corrected "
    "by Holm for the measures of this page. It takes runs to be independent, and says nothing of "
    "runs to come.",
)


def render_trend(rows: pd.DataFrame, run: dict[str, Any]) -> str:
    """Return the page of a series as HTML text.

    Args:
        rows: those of `reports.marts.trends.run_trend`.
        run: the row of `dim_run` of one of its runs.
    """
    means = averages(rows)
    runs = rows.drop_duplicates("run_id").set_index("run_id").loc[means.index]
    drawn = [chart for chart, names in CHARTS.items() if means[[*names]].notna().any(axis=None)]
    title = f"{run['model']} on {run['dataset']}"
    return rendered(
        "trend.html.j2",
        scripts=scripts(SCRIPTS),
        data=script_json(_drawn(rows, means, runs)),
        title=f"{title}: {counted(len(means), 'run')}",
        heading=title,
        precision=how_computed(run),
        runs=len(means),
        sentences=sentences(rows),
        charts=drawn,
        rows=[_row(run_id, means.loc[run_id], runs.loc[run_id]) for run_id in means.index],
        limits=LIMITS,
    )


def _drawn(rows: pd.DataFrame, means: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """Return what `trend.js` draws: of each measure the runs' means, and of each layer a line."""
    indices = sorted({int(index) for index in rows["moe_index"]})
    by_layer = {
        name: rows.pivot(index="run_id", columns="moe_index", values=name).reindex(means.index)
        for name in MEASURED
    }
    return {
        "runs": list(means.index),
        "times": [f"{when:{WHEN}}" for when in runs["started_at"]],
        "indices": indices,
        "means": columns(means, [*MEASURED, *DRIFTS]),
        "layers": {
            name: [plain(frame[index]) for index in indices] for name, frame in by_layer.items()
        },
    }


def _row(run_id: str, means: pd.Series, run: pd.Series) -> dict[str, Any]:
    def shown(name: str, form: str) -> str:
        return NONE if pd.isna(means[name]) else format(means[name], form)

    return {
        "run_id": run_id,
        "when": f"{run['started_at']:{WHEN}}",
        "tokens": NONE if pd.isna(run["tokens"]) else f"{int(run['tokens']):,}",
        "values": [
            shown("max_load_ratio", ".3f"),
            shown("dead_experts", ".3g"),
            shown("mean_entropy", ".3f"),
            shown("held_out_consistency", ".1%"),
            *(shown(name, ".1%") for name in DRIFTS),
        ],
    }
