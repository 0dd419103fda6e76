{{ config(
    materialized='layered',
    slices='waiting_layers',
    pre_hook="{{ forget_finished_runs() }}"
) }}

with events as (
    select * from {{ ref('stg_waiting_events') }}
    where layer = {{ this_layer() }}
),

layers as (
    select * from {{ ref('stg_new_layers') }}
),

-- the first of experts that have no order is not a first choice, so it is counted here
ranks as (
    {{ ranks() }}
    where rank > (select cast(bool_and(layers.ranked) as integer) from layers)
),

choices as (
    select
        events.run_key,
        events.layer,
        events.token_id,
        events.experts[ranks.rank] as expert
    from events
    cross join ranks
    where ranks.rank > 1 or events.top_expert is null
),

final as (
    select
        run_key,
        layer,
        token_id,
        expert,
        count(*) as selections
    from choices
    where expert is not null
    group by run_key, layer, token_id, expert
)

select * from final
