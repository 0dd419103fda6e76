"""The three criteria at every pair of thresholds of the grid, for runs and their MoE layers."""

from collections.abc import Iterable

import pandas as pd

from gatehouse.reports import statistics
from gatehouse.reports.verdict.criteria import RHO, met, shares_met

COLUMNS = (
    "model",
    "dataset",
    "run_id",
    "layer",
    "frequency_threshold",
    "entropy_threshold",
    "spearman",
    "log10_p",
    "low_entropy_share",
    "coverage",
    "criteria_met",
    "verdict",
)


def correlations(run_id: str, tokens: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rho and log10 of its p per MoE layer of a run; undefined is null.

    Args:
        run_id: the run.
        tokens: layer, frequency, mean_entropy (nats), one row per layer and token.
    """
    rows = []
    for layer, frame in tokens.groupby("layer"):
        found = statistics.frequency_entropy(
            frame["frequency"].to_numpy(), frame["mean_entropy"].to_numpy()
        )
        rows.append(
            {
                "run_id": run_id,
                "layer": layer,
                "spearman": found.spearman,
                "log10_p": found.log10_p,
            }
        )
    return pd.DataFrame(rows).astype({"spearman": float, "log10_p": float})


def judged_grid(grid: pd.DataFrame, found: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the verdict at every pair of thresholds, columns COLUMNS.

    Args:
        grid: `reports.marts.threshold_grid`, both shares per run, layer and pair of thresholds.
        found: `correlations` of each run in it.
    """
    table = grid.rename(columns={"moe_index": "layer"}).merge(
        pd.concat(list(found)), on=["run_id", "layer"], how="left", validate="many_to_one"
    )
    measures = ("spearman", "log10_p", "low_entropy_share", "coverage")
    criteria_met = sum(each.astype(int) for each in met(*(table[name] for name in measures)))
    verdict = criteria_met.eq(3).map({True: "SUPPORTED", False: "NOT SUPPORTED"})
    return table.assign(criteria_met=criteria_met, verdict=verdict)[list(COLUMNS)]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per run and MoE layer: rho, and the strictest pair that meets both shares.

    Args:
        table: as `judged_grid` returns it.
    """
    rows = []
    for (run_id, layer), pairs in table.groupby(["run_id", "layer"], sort=False):
        first = pairs.iloc[0]
        low_entropy, covered = shares_met(pairs["low_entropy_share"], pairs["coverage"])
        both = pairs[low_entropy & covered].sort_values(
            ["entropy_threshold", "frequency_threshold"], ascending=[True, False]
        )
        supported = int(pairs["verdict"].eq("SUPPORTED").sum())
        rows.append(
            {
                "run": run_id,
                "model": first["model"],
                "dataset": first["dataset"],
                "layer": layer,
                RHO: "undefined" if pd.isna(first["spearman"]) else f"{first['spearman']:.3f}",
                "supported": f"{supported} of {len(pairs)}",
                "both shares met": f"{len(both)} of {len(pairs)}",
                "strictest pair": _pair(both.head(1)),
                "low entropy": _share(both.head(1), "low_entropy_share"),
                "coverage": _share(both.head(1), "coverage"),
            }
        )
    return pd.DataFrame(rows)


def _pair(row: pd.DataFrame) -> str:
    if row.empty:
        return "none"
    least, most = row.iloc[0][["frequency_threshold", "entropy_threshold"]]
    return f"frequency > {least:,.0f}, entropy < {most:g}"


def _share(row: pd.DataFrame, name: str) -> str:
    return "" if row.empty else f"{row.iloc[0][name]:.1%}"
