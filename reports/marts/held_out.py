"""What a replay runs: held-out text, the routing of it that runs have, which experts matter."""

from collections.abc import Sequence

import duckdb
import pandas as pd
import pyarrow as pa

from gatehouse.reports.marts.session import frame_of, relation_of
from gatehouse.warehouse.storage.addresses import Place


def held_out_samples(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return sample_id and tokens of the splits validation and test, by the documents' hashes.

    Samples of which no token can be predicted, because they have fewer than two, are left out.
    """
    query = """
        select sample_id, tokens
        from dim_sample
        where run_id = $1 and split <> 'train' and tokens > 1
        order by document_sha256, sample_id
    """
    return frame_of(connection, query, [run_id])


def tokens_of(
    connection: duckdb.DuckDBPyConnection, run_id: str, sample_ids: list[int]
) -> pa.Table:
    """Return the token ids of some samples: sample_id, position, token_id, in that order."""
    query = """
        select sample_id, position, token_id
        from events
        where
            run_id = $1
            and layer = (select min_by(layer, moe_index) from dim_layer where run_id = $1)
            and sample_id in (select unnest($2))
        order by sample_id, position
    """
    return relation_of(connection, query, [run_id, sample_ids]).to_arrow_table()


def routing_of(
    connection: duckdb.DuckDBPyConnection, run_id: str, sample_ids: list[int]
) -> pa.Table:
    """Return where the tokens of some samples went, and with which weights.

    Columns: sample_id, position, token_id, moe_index, place among the k, expert, weight (null where
    the run has none).
    """
    query = """
        select
            events.sample_id,
            events.position,
            events.token_id,
            layers.moe_index,
            unnest(range(len(events.experts))) as place,
            unnest(events.experts) as expert,
            unnest(events.weights) as weight
        from events
        inner join dim_layer as layers
            on events.run_id = layers.run_id and events.layer = layers.layer
        where events.run_id = $1 and events.sample_id in (select unnest($2))
    """
    return relation_of(connection, query, [run_id, sample_ids]).to_arrow_table()


def expert_sets(connection: duckdb.DuckDBPyConnection, run_id: str) -> duckdb.DuckDBPyRelation:
    """Return how often tokens of the splits validation and test go to each set of experts.

    Columns: token_id, moe_index, expert_set in ascending order, occurrences.
    """
    query = """
        with layers as (
            select layer, moe_index from dim_layer where run_id = $1
        ),

        held_out as (
            select sample_id from samples where run_id = $1 and split <> 'train'
        )

        select
            events.token_id,
            layers.moe_index,
            list_sort(events.experts) as expert_set,
            count(*) as occurrences
        from events
        inner join layers on events.layer = layers.layer
        semi join held_out on events.sample_id = held_out.sample_id
        where events.run_id = $1
        group by events.token_id, layers.moe_index, list_sort(events.experts)
    """
    return relation_of(connection, query, [run_id])


def expert_loads(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return how often experts are chosen in the train split, and with how much weight.

    Columns: moe_index, expert, load, gate_mass; experts that nobody chose have no row.
    """
    query = """
        with train as (
            select sample_id from samples where run_id = $1 and split = 'train'
        ),

        choices as (
            select
                layers.moe_index,
                unnest(events.experts) as expert,
                unnest(events.weights) as weight
            from events
            inner join dim_layer as layers
                on events.run_id = layers.run_id and events.layer = layers.layer
            semi join train on events.sample_id = train.sample_id
            where events.run_id = $1
        )

        select
            moe_index,
            expert,
            cast(count(*) as double) as load,
            sum(cast(weight as double)) as gate_mass
        from choices
        group by moe_index, expert
    """
    return frame_of(connection, query, [run_id])


def expert_reap(
    connection: duckdb.DuckDBPyConnection, run_id: str, files: Sequence[Place]
) -> pd.DataFrame:
    """Return the REAP of experts in the train split: the mean of weight times output norm.

    Columns: moe_index, expert, reap. Source: Lasby et al. (2025), arXiv:2510.13999.

    Args:
        connection: a session over the marts and the lake.
        run_id: a run with the norms of the experts' outputs.
        files: its events.
    """
    query = """
        with train as (
            select sample_id from samples where run_id = $1 and split = 'train'
        ),

        choices as (
            select
                layers.moe_index,
                unnest(events.experts) as expert,
                unnest(events.weights) as weight,
                unnest(events.output_norms) as output_norm
            from read_parquet($2) as events
            inner join dim_layer as layers
                on events.layer = layers.layer and layers.run_id = $1
            semi join train on events.sample_id = train.sample_id
        )

        select
            moe_index,
            expert,
            avg(cast(weight as double) * output_norm) as reap
        from choices
        where weight > 0
        group by moe_index, expert
    """
    return frame_of(connection, query, [run_id, [str(path) for path in files]])
