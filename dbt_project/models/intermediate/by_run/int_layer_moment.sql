-- What fct_layer_routing merges from the tokens of other runs.
{{ config(materialized='table') }}

with events as (
    select * from {{ ref('stg_new_tokenless_events') }}
),

final as (
    select
        run_key,
        layer,
        {{ event_moments() }}
    from events
    group by run_key, layer
)

select * from final
