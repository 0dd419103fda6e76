{{ config(
    materialized='layered',
    slices='waiting_layers',
    pre_hook="{{ forget_finished_runs() }}"
) }}

with events as (
    select * from {{ ref('stg_waiting_events') }}
    where layer = {{ this_layer() }}
),

ranks as (
    {{ ranks() }}
    where rank > 1
),

choices as (
    select
        events.run_key,
        events.layer,
        events.token_id,
        events.experts[ranks.rank] as expert
    from events
    cross join ranks
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
