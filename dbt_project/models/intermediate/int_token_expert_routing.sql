{{ config(materialized='layered', slices='new_layers') }}

with events as (
    select * from {{ ref('stg_new_events') }}
    where layer = {{ this_layer() }}
),

final as (
    select
        run_key,
        layer,
        token_id,
        top_expert,
        count(*) as occurrences,
        sum(cast(entropy as double)) as entropy_sum,
        var_pop(cast(entropy as double)) * count(*) as entropy_m2,
        min(entropy) as min_entropy,
        max(entropy) as max_entropy,
        sum(cast(confidence as double)) as confidence_sum,
        var_pop(cast(confidence as double)) * count(*) as confidence_m2
    from events
    group by run_key, layer, token_id, top_expert
)

select * from final
