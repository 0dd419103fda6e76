{{ config(materialized='layered', slices='new_layers') }}

with partials as (
    select * from {{ ref('int_token_expert_routing') }}
    where {{ of_new_runs('run_key') }} and layer = {{ this_layer() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

tokens as (
    select * from {{ ref('dim_token') }}
    where {{ of_new_runs() }}
),

means as (
    select
        run_key,
        token_id,
        sum(entropy_sum) / sum(occurrences) as mean_entropy,
        sum(confidence_sum) / sum(occurrences) as mean_confidence
    from partials
    group by run_key, token_id
),

merged as (
    select
        partials.run_key,
        partials.layer,
        partials.token_id,
        cast(sum(partials.occurrences) as bigint) as frequency,
        any_value(means.mean_entropy) as mean_entropy,
        {{ merged_m2(
            'partials.occurrences',
            'partials.entropy_sum / partials.occurrences',
            'partials.entropy_m2',
            'means.mean_entropy'
        ) }} as entropy_m2,
        any_value(means.mean_confidence) as mean_confidence,
        {{ merged_m2(
            'partials.occurrences',
            'partials.confidence_sum / partials.occurrences',
            'partials.confidence_m2',
            'means.mean_confidence'
        ) }} as confidence_m2,
        min(partials.min_entropy) as min_entropy,
        max(partials.max_entropy) as max_entropy
    from partials
    inner join means on partials.run_key = means.run_key and partials.token_id = means.token_id
    group by partials.run_key, partials.layer, partials.token_id
),

-- an expert has a row for each build that counted shards of the run
experts as (
    select
        run_key,
        token_id,
        top_expert,
        cast(sum(occurrences) as bigint) as occurrences
    from partials
    group by run_key, token_id, top_expert
),

modal as (
    select
        run_key,
        token_id,
        max(occurrences) as occurrences,
        -- the most frequent top expert; of equals, the smallest id
        arg_max(top_expert, occurrences * 65536 + 65535 - top_expert) as top_expert
    from experts
    group by run_key, token_id
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
        modal.occurrences / merged.frequency as routing_consistency,
        cast(modal.top_expert as integer) as top_expert,
        cast(merged.min_entropy as double) as min_entropy,
        cast(merged.max_entropy as double) as max_entropy
    from merged
    inner join modal on merged.run_key = modal.run_key and merged.token_id = modal.token_id
    inner join runs on merged.run_key = runs.run_key
    -- an event of an unknown token stays, for the tests to find
    left join layers on runs.run_id = layers.run_id and merged.layer = layers.layer
    left join tokens on runs.run_id = tokens.run_id and merged.token_id = tokens.token_id
)

select * from final
