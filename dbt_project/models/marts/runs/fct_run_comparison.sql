{{ config(
    materialized='layered',
    slices='compared_layers',
    pre_hook="{{ forget_rebuilt_runs('other_run_id') }}"
) }}

with events as (
    select * from {{ ref('int_compared_event') }}
    where layer = {{ this_layer() }}
),

pairs as (
    select * from {{ ref('int_run_pair') }}
),

layers as (
    select * from {{ ref('int_compared_layer') }}
    where layer = {{ this_layer() }}
),

matched as (
    select
        layers.run_id,
        layers.other_run_id,
        layers.layer,
        layers.moe_index,
        layers.top_k,
        events.experts,
        other_events.experts as other_experts,
        events.top_expert = other_events.top_expert as is_top_equal,
        cast(other_events.entropy as double) - events.entropy as entropy_change
    from {{ shared_events() }}
),

compared as (
    select
        *,
        -- list_intersect takes twice as long
        len(list_filter(experts, lambda expert: list_contains(other_experts, expert)))
            as shared_experts
    from matched
),

final as (
    select
        run_id,
        other_run_id,
        layer,
        moe_index,
        count(*) as tokens,
        avg(shared_experts / top_k) as expert_overlap,
        count(*) filter (where shared_experts = top_k) / count(*) as set_agreement,
        count(*) filter (where is_top_equal) / nullif(count(is_top_equal), 0) as top_agreement,
        avg(entropy_change) as mean_entropy_change,
        avg(abs(entropy_change)) as mean_absolute_entropy_change
    from compared
    group by run_id, other_run_id, layer, moe_index
)

select * from final
