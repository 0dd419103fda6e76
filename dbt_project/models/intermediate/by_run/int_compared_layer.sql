{{ config(materialized='table') }}

with pairs as (
    select distinct
        run_id,
        run_key,
        other_run_id,
        other_run_key
    from {{ ref('int_run_pair') }}
),

runs as (
    select * from {{ ref('stg_runs') }}
),

layers as (
    select * from {{ ref('stg_layers') }}
),

final as (
    select
        pairs.run_id,
        pairs.run_key,
        pairs.other_run_id,
        pairs.other_run_key,
        layers.layer,
        layers.moe_index,
        layers.top_k,
        layers.ranked and other_layers.ranked as are_ranked,
        case
            when layers.has_weights and other_layers.has_weights
                then runs.source <> 'capture' and other_runs.source = 'capture'
            else other_layers.has_weights
        end as is_margin_of_other,
        runs.max_length,
        other_runs.max_length as other_max_length
    from pairs
    inner join runs on pairs.run_id = runs.run_id
    inner join runs as other_runs on pairs.other_run_id = other_runs.run_id
    inner join layers on pairs.run_id = layers.run_id
    inner join layers as other_layers
        on
            pairs.other_run_id = other_layers.run_id
            and layers.layer = other_layers.layer
            and layers.moe_index = other_layers.moe_index
            and layers.num_experts = other_layers.num_experts
            and layers.top_k = other_layers.top_k
)

select * from final
