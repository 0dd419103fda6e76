"""Lookup tables of the train split.

An entry of a table is the experts with the greatest mean weight over all occurrences of its key in
the train split, where one that was not chosen weighs nothing; of several with as much the first.
Their weights are these means, scaled to what a token's weights sum to.
"""

import duckdb
import pandas as pd
import pyarrow as pa

from gatehouse.reports.marts.session import frame_of, relation_of
from gatehouse.warehouse.replays import ReplayPolicy

TRAINED = """
    with layers as (
        select layer, moe_index, top_k from dim_layer where run_id = $1 and has_weights
    ),

    train as (
        select sample_id from samples where run_id = $1 and split = 'train'
    ),

    trained as (
        select
            events.*,
            layers.moe_index,
            layers.top_k
        from events
        inner join layers on events.layer = layers.layer
        semi join train on events.sample_id = train.sample_id
        where events.run_id = $1
    ),
"""
"""The events that tables are made of."""

BY_TOKEN = """
    chosen as (
        select
            *,
            -1 as previous_id
        from trained
    ),
"""

BY_BIGRAM = """
    bigrams as (
        select
            sample_id,
            position,
            window_position,
            lag(token_id) over (partition by sample_id order by position) as previous_id
        from trained
        where moe_index = (select min(moe_index) from layers)
    ),

    paired as (
        select
            trained.*,
            bigrams.previous_id
        from trained
        inner join bigrams using (sample_id, position)
        -- the first token of a window is read without the one before it
        where bigrams.window_position > 0
    ),

    counted as (
        select
            previous_id,
            token_id,
            moe_index,
            count(*) as occurrences
        from paired
        group by previous_id, token_id, moe_index, list_sort(experts)
    ),

    consistent as (
        select
            previous_id,
            token_id,
            moe_index
        from counted
        group by previous_id, token_id, moe_index
        having sum(occurrences) >= $2 and max(occurrences) >= $3 * sum(occurrences)
    ),

    chosen as (
        select paired.*
        from paired
        semi join consistent using (previous_id, token_id, moe_index)
    ),
"""

ENTRIES = """
    choices as (
        select
            previous_id,
            token_id,
            moe_index,
            unnest(experts) as expert,
            unnest(weights) as weight
        from chosen
    ),

    summed as (
        select
            previous_id,
            token_id,
            moe_index,
            expert,
            sum(cast(weight as double)) as weight
        from choices
        group by previous_id, token_id, moe_index, expert
    ),

    whole as (
        select
            previous_id,
            token_id,
            moe_index,
            sum(list_sum(cast(weights as double[]))) / count(*) as weight_of_a_token,
            any_value(top_k) as top_k
        from chosen
        group by previous_id, token_id, moe_index
    ),

    placed as (
        select
            summed.*,
            whole.weight_of_a_token,
            row_number() over (
                partition by summed.previous_id, summed.token_id, summed.moe_index
                order by summed.weight desc, summed.expert
            ) - 1 as place
        from summed
        inner join whole using (previous_id, token_id, moe_index)
        qualify place < whole.top_k
    )

    select
        previous_id,
        token_id,
        moe_index,
        place,
        expert,
        cast(
            weight * weight_of_a_token
            / sum(weight) over (partition by previous_id, token_id, moe_index)
            as float
        ) as weight
    from placed
"""

TOKEN_ENTRIES, BIGRAM_ENTRIES = (
    "".join([TRAINED, chosen, ENTRIES]) for chosen in (BY_TOKEN, BY_BIGRAM)
)


def token_choices(connection: duckdb.DuckDBPyConnection, run_id: str) -> pd.DataFrame:
    """Return by what entries of a token table are chosen, for each token and MoE layer.

    Columns: token_id, moe_index, set_share, train_frequency, train_mean_entropy in nats,
    frequency_rank.
    """
    query = """
        select
            tokens.token_id,
            layers.moe_index,
            tokens.set_share,
            tokens.train_frequency,
            tokens.train_mean_entropy,
            tokens.frequency_rank
        from int_fast_path_table as tokens
        inner join stg_runs on tokens.run_key = stg_runs.run_key
        inner join dim_layer as layers
            on stg_runs.run_id = layers.run_id and tokens.layer = layers.layer
        where stg_runs.run_id = $1
    """
    return frame_of(connection, query, [run_id])


def chosen(choices: pd.DataFrame, policy: ReplayPolicy) -> "pd.Series[bool]":
    """Return which tokens and layers are in a table, by the policy's rule.

    Args:
        choices: as `token_choices` returns them.
        policy: of tokens.
    """
    if policy.table_size is not None:
        return choices["frequency_rank"] <= policy.table_size
    if policy.frequency_threshold is not None:
        return (choices["train_frequency"] > policy.frequency_threshold) & (
            choices["train_mean_entropy"] < policy.entropy_threshold
        )
    return (choices["set_share"] >= policy.min_share) & (
        choices["train_frequency"] >= policy.min_frequency
    )


def token_entries(connection: duckdb.DuckDBPyConnection, run_id: str) -> pa.Table:
    """Return the experts of every token that occurs in the train split.

    Columns: token_id, moe_index, place among the k, expert, weight.
    """
    return relation_of(connection, TOKEN_ENTRIES, [run_id]).to_arrow_table()


def bigram_entries(
    connection: duckdb.DuckDBPyConnection, run_id: str, min_frequency: int, min_share: float
) -> pa.Table:
    """Return the experts of pairs of tokens that occur so often, mostly with the same set.

    Columns: previous_id, token_id, moe_index, place among the k, expert, weight. A pair has rows
    for those layers in which its most frequent set has at least this share of its occurrences.
    """
    values = [run_id, min_frequency, min_share]
    return relation_of(connection, BIGRAM_ENTRIES, values).to_arrow_table()
