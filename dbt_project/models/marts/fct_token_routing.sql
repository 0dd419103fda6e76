with partials as (
    select * from {{ ref('int_token_expert_routing') }}
),

runs as (
    select
        run_id,
        run_number
    from {{ ref('stg_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

tokens as (
    select * from {{ ref('dim_token') }}
),

centred as (
    select
        *,
        sum(entropy_sum) over token / sum(occurrences) over token as mean_entropy,
        sum(confidence_sum) over token / sum(occurrences) over token as mean_confidence
    from partials
    window token as (partition by run_number, layer, token_id)
),

merged as (
    select
        run_number,
        layer,
        token_id,
        cast(sum(occurrences) as bigint) as frequency,
        any_value(mean_entropy) as mean_entropy,
        {{ merged_m2('occurrences', 'entropy_sum / occurrences', 'entropy_m2', 'mean_entropy') }}
            as entropy_m2,
        any_value(mean_confidence) as mean_confidence,
        {{ merged_m2(
            'occurrences', 'confidence_sum / occurrences', 'confidence_m2', 'mean_confidence'
        ) }} as confidence_m2,
        max(occurrences) as modal_occurrences,
        -- the most frequent top expert; of equals, the smallest id
        arg_max(top_expert, occurrences * 65536 + 65535 - top_expert) as top_expert,
        min(min_entropy) as min_entropy,
        max(max_entropy) as max_entropy
    from centred
    group by run_number, layer, token_id
),

final as (
    select
        runs.run_id,
        merged.layer,
        merged.token_id,
        layers.moe_index,
        tokens.token_str,
        tokens.is_special,
        merged.frequency,
        merged.mean_entropy,
        {{ sample_deviation('merged.entropy_m2', 'merged.frequency') }} as std_entropy,
        merged.mean_confidence,
        {{ sample_deviation('merged.confidence_m2', 'merged.frequency') }} as std_confidence,
        merged.modal_occurrences / merged.frequency as routing_consistency,
        cast(merged.top_expert as integer) as top_expert,
        cast(merged.min_entropy as double) as min_entropy,
        cast(merged.max_entropy as double) as max_entropy
    from merged
    inner join runs on merged.run_number = runs.run_number
    -- an event of an unknown layer or token stays, for the tests to find
    left join layers on runs.run_id = layers.run_id and merged.layer = layers.layer
    left join tokens on runs.run_id = tokens.run_id and merged.token_id = tokens.token_id
)

select * from final
