-- Moments and top experts are two groupings of the events: in a single grouping, more groups would
-- have to hold moments.
{{ config(materialized='layered', slices='new_layers') }}

-- if read once for both, the two groupings would evict each other from the processor's cache
with events as not materialized (
    select * from {{ ref('stg_whole_run_events') }}
    where layer = {{ this_layer() }}
),

partials as (
    select * from {{ ref('int_token_expert_routing') }}
    where {{ of_new_runs('run_key') }} and layer = {{ this_layer() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }} and layer = {{ this_layer() }}
),

tokens as (
    select
        runs.run_key,
        dim_token.token_id,
        dim_token.token_str,
        dim_token.is_special
    from {{ ref('dim_token') }} as dim_token
    inner join runs on dim_token.run_id = runs.run_id
),

partial_means as (
    select
        run_key,
        token_id,
        sum(entropy_sum) / sum(occurrences) as mean_entropy,
        sum(confidence_sum) / sum(occurrences) as mean_confidence
    from partials
    group by run_key, token_id
),

moments as (
    select
        run_key,
        token_id,
        count(*) as frequency,
        avg(cast(entropy as double)) as mean_entropy,
        {{ m2('entropy') }} as entropy_m2,
        min(entropy) as min_entropy,
        max(entropy) as max_entropy,
        avg(cast(confidence as double)) as mean_confidence,
        {{ m2('confidence') }} as confidence_m2
    from events
    group by run_key, token_id
    union all
    select
        partials.run_key,
        partials.token_id,
        cast(sum(partials.occurrences) as bigint) as frequency,
        any_value(partial_means.mean_entropy) as mean_entropy,
        {{ merged_m2(
            'partials.occurrences',
            'partials.entropy_sum / partials.occurrences',
            'partials.entropy_m2',
            'partial_means.mean_entropy'
        ) }} as entropy_m2,
        min(partials.min_entropy) as min_entropy,
        max(partials.max_entropy) as max_entropy,
        any_value(partial_means.mean_confidence) as mean_confidence,
        {{ merged_m2(
            'partials.occurrences',
            'partials.confidence_sum / partials.occurrences',
            'partials.confidence_m2',
            'partial_means.mean_confidence'
        ) }} as confidence_m2
    from partials
    inner join partial_means
        on
            partials.run_key = partial_means.run_key
            and partials.token_id = partial_means.token_id
    group by partials.run_key, partials.token_id
),

experts as (
    select
        run_key,
        token_id,
        top_expert,
        count(*) as occurrences
    from events
    group by run_key, token_id, top_expert
    union all
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
        max(occurrences) filter (where top_expert is not null) as occurrences,
        -- the most frequent top expert; ties go to the smallest id
        arg_max(top_expert, occurrences * 65536 + 65535 - top_expert) as top_expert
    from experts
    group by run_key, token_id
),

final as (
    select
        runs.run_id,
        cast({{ this_layer() }} as smallint) as layer,
        moments.token_id,
        layers.moe_index,
        tokens.token_str,
        tokens.is_special,
        moments.frequency,
        moments.mean_entropy,
        {{ sample_deviation('moments.entropy_m2', 'moments.frequency') }} as std_entropy,
        moments.mean_confidence,
        {{ sample_deviation('moments.confidence_m2', 'moments.frequency') }} as std_confidence,
        modal.occurrences / moments.frequency as routing_consistency,
        cast(modal.top_expert as integer) as top_expert,
        cast(moments.min_entropy as double) as min_entropy,
        cast(moments.max_entropy as double) as max_entropy
    from moments
    inner join modal on moments.run_key = modal.run_key and moments.token_id = modal.token_id
    inner join runs on moments.run_key = runs.run_key
    -- an event of an unknown token stays, for the tests to find
    left join layers on runs.run_id = layers.run_id
    left join tokens on runs.run_key = tokens.run_key and moments.token_id = tokens.token_id
)

select * from final
