"""Runs and the per-token statistics of their layers."""

from typing import Any

import duckdb
import pandas as pd

from gatehouse.reports.marts.session import frame_of, in_utc, relation_of
from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.records import COUNTED


def finished_runs(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the ids of the runs in the marts, the latest finished last.

    Raises:
        GatehouseError: the marts are not built.
    """
    frame = frame_of(connection, "select run_id from dim_run order by finished_at, run_id", [])
    return frame["run_id"].to_list()


def resolve_run(connection: duckdb.DuckDBPyConnection, run_id: str | None) -> str:
    """Return `run_id`; where it is None, the run that finished last, with events if any has them.

    Raises:
        GatehouseError: there is no such run, or no run at all.
    """
    runs = finished_runs(connection)
    if not runs:
        raise GatehouseError("no run has finished: `gatehouse status` shows what is captured")
    if run_id is not None and run_id not in runs:
        raise _not_built(run_id)
    return run_id or _latest(connection, runs)


def _not_built(run_id: str) -> GatehouseError:
    return GatehouseError(
        f"no finished run {run_id!r} is built: `gatehouse status` lists the runs, and `gatehouse "
        "build` adds those that have finished"
    )


def _latest(connection: duckdb.DuckDBPyConnection, runs: list[str]) -> str:
    query = "select run_id from dim_run where source = $1"
    of_counts = set(frame_of(connection, query, [COUNTED])["run_id"])
    return ([each for each in runs if each not in of_counts] or runs)[-1]


def run_summary(connection: duckdb.DuckDBPyConnection, run_id: str) -> dict[str, Any]:
    """Return the run's row of `dim_run`, timestamps in UTC.

    Raises:
        GatehouseError: there is no such run.
    """
    relation = relation_of(connection, "select * from dim_run where run_id = $1", [run_id])
    rows = relation.to_arrow_table().to_pylist()
    if not rows:
        raise _not_built(run_id)
    return {name: in_utc(value) for name, value in rows[0].items()}


def layers(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return one row per MoE layer: what it is, then how it routed; entropies in nats."""
    query = """
        select
            dim_layer.run_id,
            dim_layer.layer,
            dim_layer.moe_index,
            dim_layer.stack,
            dim_layer.block,
            dim_layer.router_path,
            dim_layer.scoring,
            dim_layer.num_experts,
            dim_layer.top_k,
            dim_layer.weights_sum_to_one,
            dim_layer.expert_bytes,
            routing.events,
            routing.token_types,
            routing.mean_entropy,
            routing.std_entropy,
            routing.min_entropy,
            routing.max_entropy,
            routing.normalised_entropy,
            routing.mean_confidence,
            routing.std_confidence,
            routing.routing_consistency,
            routing.max_load_ratio,
            routing.load_variation,
            routing.jain_index,
            routing.dead_experts
        from dim_layer
        inner join fct_layer_routing as routing
            on dim_layer.run_id = routing.run_id and dim_layer.layer = routing.layer
        where dim_layer.run_id = $1
        order by dim_layer.moe_index
    """
    return frame_of(connection, query, [run_id])


def routing_statistics(
    connection: duckdb.DuckDBPyConnection, run_id: str, layer: int | None
) -> pd.DataFrame:
    """Return the per-token statistics, the most frequent token first; entropies in nats.

    Args:
        connection: a session over the marts.
        run_id: a finished run.
        layer: index among the MoE layers; None for all, with a leading column `layer`.

    Raises:
        GatehouseError: the run has no such MoE layer.
    """
    check_layer(connection, run_id, layer)
    query = """
        select
            moe_index as layer,
            token_id,
            token_str,
            frequency,
            mean_entropy,
            std_entropy,
            mean_confidence,
            std_confidence,
            routing_consistency,
            top_expert,
            min_entropy,
            max_entropy
        from fct_token_routing
        where run_id = $1 and ($2 is null or moe_index = $2)
        order by moe_index, frequency desc, token_id
    """
    frame = frame_of(connection, query, [run_id, layer])
    return frame if layer is None else frame.drop(columns="layer")


def check_layer(connection: duckdb.DuckDBPyConnection, run_id: str, layer: int | None) -> None:
    """Refuse a run or a MoE layer that does not exist.

    Raises:
        GatehouseError: there is no such run, or it has no such MoE layer.
    """
    query = "select moe_index from dim_layer where run_id = $1 order by moe_index"
    known = [int(index) for index in frame_of(connection, query, [run_id])["moe_index"]]
    if not known:
        raise _not_built(run_id)
    if layer is not None and layer not in known:
        raise GatehouseError(
            f"there is no MoE layer {layer}: this run has {', '.join(map(str, known))}"
        )


def threshold_grid(connection: duckdb.DuckDBPyConnection, run_id: str | None) -> pd.DataFrame:
    """Return both shares of every run, MoE layer and pair of thresholds in the warehouse.

    Args:
        connection: a session over the marts.
        run_id: one run; None for all.
    """
    query = """
        select
            dim_run.model,
            dim_run.dataset,
            grid.run_id,
            grid.moe_index,
            grid.frequency_threshold,
            grid.entropy_threshold,
            every_token.eligible_tokens / every_token.token_types as low_entropy_share,
            grid.coverage
        from fct_fast_path_coverage as grid
        inner join dim_run on grid.run_id = dim_run.run_id
        -- without a threshold on frequency, the eligible tokens are those of low entropy
        inner join fct_fast_path_coverage as every_token
            on
                grid.run_id = every_token.run_id
                and grid.layer = every_token.layer
                and grid.entropy_threshold = every_token.entropy_threshold
                and every_token.frequency_threshold = 0
        where $1 is null or grid.run_id = $1
        order by
            dim_run.finished_at,
            grid.run_id,
            grid.moe_index,
            grid.frequency_threshold,
            grid.entropy_threshold
    """
    return frame_of(connection, query, [run_id])
