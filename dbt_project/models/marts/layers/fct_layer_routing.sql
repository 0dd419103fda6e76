with token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

parts as (
    select
        *,
        coalesce(pow(std_entropy, 2), 0) * (frequency - 1) as entropy_m2,
        coalesce(pow(std_confidence, 2), 0) * (frequency - 1) as confidence_m2
    from token_routing
),

centred as (
    select
        *,
        sum(mean_entropy * frequency) over layer_events
        / sum(frequency) over layer_events as layer_entropy,
        sum(mean_confidence * frequency) over layer_events
        / sum(frequency) over layer_events as layer_confidence
    from parts
    window layer_events as (partition by run_id, layer)
),

merged as (
    select
        run_id,
        layer,
        cast(sum(frequency) as bigint) as events,
        count(*) as token_types,
        any_value(layer_entropy) as mean_entropy,
        {{ merged_m2('frequency', 'mean_entropy', 'entropy_m2', 'layer_entropy') }} as entropy_m2,
        min(min_entropy) as min_entropy,
        max(max_entropy) as max_entropy,
        any_value(layer_confidence) as mean_confidence,
        {{ merged_m2('frequency', 'mean_confidence', 'confidence_m2', 'layer_confidence') }}
            as confidence_m2,
        sum(routing_consistency * frequency) / sum(frequency) as routing_consistency
    from centred
    group by run_id, layer
),

balance as (
    select
        run_id,
        layer,
        max(load) / nullif(avg(load), 0) as max_load_ratio,
        stddev_pop(load) / nullif(avg(load), 0) as load_variation,
        pow(sum(load), 2) / nullif(count(*) * sum(pow(load, 2)), 0) as jain_index,
        count(*) filter (where is_dead) as dead_experts,
        sum(dropped) / sum(selections) as dropped_share
    from expert_load
    group by run_id, layer
),

final as (
    select
        merged.run_id,
        merged.layer,
        layers.moe_index,
        layers.num_experts,
        merged.events,
        merged.token_types,
        merged.mean_entropy,
        {{ sample_deviation('merged.entropy_m2', 'merged.events') }} as std_entropy,
        merged.min_entropy,
        merged.max_entropy,
        merged.mean_entropy / nullif(ln(layers.num_experts), 0) as normalised_entropy,
        merged.mean_confidence,
        {{ sample_deviation('merged.confidence_m2', 'merged.events') }} as std_confidence,
        merged.routing_consistency,
        balance.max_load_ratio,
        balance.max_load_ratio - 1 as max_violation,
        balance.load_variation,
        balance.jain_index,
        balance.dead_experts,
        balance.dropped_share
    from merged
    left join layers on merged.run_id = layers.run_id and merged.layer = layers.layer
    left join balance on merged.run_id = balance.run_id and merged.layer = balance.layer
)

select * from final
