with token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

moments as (
    select * from {{ ref('int_layer_moment') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
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

-- a run has rows in one of the two
counted as (
    select * from merged
    union all by name
    select
        runs.run_id,
        moments.* exclude (moments.run_key)
    from moments
    inner join runs on moments.run_key = runs.run_key
),

balance as (
    select
        run_id,
        layer,
        {{ balance_of_experts() }},
        sum(selections) as selections,
        sum(dropped) / sum(selections) as dropped_share
    from expert_load
    group by run_id, layer
),

-- a run of counts has a balance and no events; a layer without selections has neither
routed as (
    select * from balance
    where selections > 0
),

final as (
    select
        routed.run_id,
        routed.layer,
        layers.moe_index,
        layers.num_experts,
        counted.events,
        counted.token_types,
        counted.mean_entropy,
        {{ sample_deviation('counted.entropy_m2', 'counted.events') }} as std_entropy,
        counted.min_entropy,
        counted.max_entropy,
        counted.mean_entropy / nullif(ln(layers.num_experts), 0) as normalised_entropy,
        counted.mean_confidence,
        {{ sample_deviation('counted.confidence_m2', 'counted.events') }} as std_confidence,
        counted.routing_consistency,
        routed.max_load_ratio,
        routed.max_load_ratio - 1 as max_violation,
        routed.load_variation,
        routed.jain_index,
        routed.dead_experts,
        routed.dropped_share
    from routed
    left join layers on routed.run_id = layers.run_id and routed.layer = layers.layer
    left join counted on routed.run_id = counted.run_id and routed.layer = counted.layer
)

select * from final
