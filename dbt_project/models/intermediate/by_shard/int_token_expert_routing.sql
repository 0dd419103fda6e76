{{ config(
    materialized='layered',
    slices='waiting_layers',
    pre_hook="{{ forget_finished_runs() }}"
) }}

with events as (
    select * from {{ ref('stg_waiting_events') }}
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
        {{ m2('entropy') }} as entropy_m2,
        min(entropy) as min_entropy,
        max(entropy) as max_entropy,
        sum(cast(confidence as double)) as confidence_sum,
        {{ m2('confidence') }} as confidence_m2
    from events
    group by run_key, layer, token_id, top_expert
)

select * from final
