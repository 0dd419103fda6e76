{{ config(materialized='layered', slices='new_layers') }}

with events as (
    select * from {{ ref('stg_new_token_events') }}
    where layer = {{ this_layer() }}
),

blocks as (
    select * from {{ ref('int_sample_block') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }} and layer = {{ this_layer() }}
),

counted as (
    select
        events.run_key,
        blocks.block,
        events.token_id,
        count(*) as occurrences,
        sum(cast(events.entropy as double)) as entropy_sum
    from events
    inner join blocks
        on events.run_key = blocks.run_key and events.sample_id = blocks.sample_id
    group by events.run_key, blocks.block, events.token_id
),

final as (
    select
        runs.run_id,
        cast({{ this_layer() }} as smallint) as layer,
        counted.block,
        counted.token_id,
        layers.moe_index,
        counted.occurrences,
        counted.entropy_sum
    from counted
    inner join runs on counted.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id
)

select * from final
