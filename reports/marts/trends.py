"""Runs of one model, dataset and settings, one after the other."""

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of

MEASURED = ("mean_entropy", "held_out_consistency", "max_load_ratio", "dead_experts")
DRIFTS = (
    "shared_load_with_previous",
    "shared_load_with_first",
    "keep_set_overlap_with_previous",
    "keep_set_overlap_with_first",
)


def run_trend(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return the rows of `fct_run_trend` of a run's series, in the order of the runs.

    Beside them, of each run: model, dataset, model_fingerprint, tokenizer_fingerprint, versions,
    device, samples and tokens.
    """
    query = """
        select
            trend.*,
            dim_run.model,
            dim_run.dataset,
            dim_run.model_fingerprint,
            dim_run.tokenizer_fingerprint,
            dim_run.versions,
            dim_run.device,
            dim_run.samples,
            dim_run.tokens
        from fct_run_trend as trend
        inner join dim_run on trend.run_id = dim_run.run_id
        where trend.series in (select series from fct_run_trend where run_id = $1)
        order by trend.started_at, trend.run_id, trend.moe_index
    """
    return frame_of(connection, query, [run_id])


def long_series(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the last run of each series with two runs or more."""
    query = """
        select arg_max(run_id, (started_at, run_id)) as run_id
        from fct_run_trend
        group by series
        having count(distinct run_id) > 1
        order by 1
    """
    return list(frame_of(connection, query, [])["run_id"])
