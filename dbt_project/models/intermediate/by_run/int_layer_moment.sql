-- What fct_layer_routing merges from the tokens of other runs.
{{ config(materialized='table') }}

with events as (
    select * from {{ ref('stg_new_tokenless_events') }}
),

final as (
    select
        run_key,
        layer,
        count(*) as events,
        avg(cast(entropy as double)) as mean_entropy,
        {{ m2('entropy') }} as entropy_m2,
        cast(min(entropy) as double) as min_entropy,
        cast(max(entropy) as double) as max_entropy,
        avg(cast(confidence as double)) as mean_confidence,
        {{ m2('confidence') }} as confidence_m2
    from events
    group by run_key, layer
)

select * from final
