-- What fct_layer_routing merges from the tokens of other runs.
{{ config(slices='all_new_layers', pre_hook="{{ forget_all() }}") }}

with events as (
    select * from {{ ref('stg_new_tokenless_events') }}
    where {{ in_these_layers() }}
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
