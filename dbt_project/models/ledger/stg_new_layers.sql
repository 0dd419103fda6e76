-- A table, not a view, for the many statements of a build that read it.
{{ config(materialized='table') }}

with layers as (
    select * from {{ lake('layers') }}
),

runs as (
    select * from {{ lake('runs') }}
),

touched_runs as (
    select run_id from {{ ref('stg_shards') }}
    where is_new
    union
    select run_id from {{ ref('stg_new_runs') }}
),

waiting_runs as (
    select * from {{ ref('stg_waiting_runs') }}
),

final as (
    select
        layers.run_id,
        {{ run_key('layers.run_id') }} as run_key,
        layers.layer,
        layers.moe_index,
        layers.stack,
        layers.num_experts,
        layers.top_k,
        layers.has_weights,
        layers.has_distribution,
        layers.ranked,
        runs.has_token_ids,
        coalesce(runs.output_norms, false) as has_output_norms,
        runs.max_length,
        waiting_runs.run_id is not null as is_waiting
    from layers
    inner join runs on layers.run_id = runs.run_id
    semi join touched_runs on layers.run_id = touched_runs.run_id
    left join waiting_runs on layers.run_id = waiting_runs.run_id
)

select * from final
