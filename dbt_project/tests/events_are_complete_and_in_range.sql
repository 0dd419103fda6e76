with events as (
    select * from {{ ref('stg_new_run_events') }}
    where {{ of_share() }}
),

samples as (
    select * from {{ ref('stg_samples') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('stg_layers') }}
    where {{ of_new_runs() }} and {{ of_share() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

landed as (
    select
        run_key,
        layer,
        sample_id,
        count(*) as landed_tokens,
        min(position) as first_position,
        max(position) as last_position,
        sum(position) as position_sum,
        max(top_expert) as last_expert,
        count(top_expert) as top_experts,
        count(entropy) as entropies,
        min(entropy) as min_entropy,
        max(entropy) as max_entropy,
        count(confidence) as confidences,
        min(confidence) as min_confidence,
        max(confidence) as max_confidence
    from events
    group by run_key, layer, sample_id
),

named as (
    select
        runs.run_id,
        landed.* exclude (landed.run_key)
    from landed
    inner join runs on landed.run_key = runs.run_key
),

expected as (
    select
        samples.run_id,
        layers.layer,
        samples.sample_id,
        layers.num_experts,
        layers.ranked,
        layers.has_distribution,
        cast(samples.tokens as bigint) as tokens,
        {{ var('rounding_tolerance') }} as tolerance
    from samples
    inner join layers on samples.run_id = layers.run_id
    where samples.tokens > 0
),

compared as (
    select
        named.* exclude (run_id, layer, sample_id),
        expected.* exclude (run_id, layer, sample_id),
        run_id,
        layer,
        sample_id
    from expected
    full outer join named using (run_id, layer, sample_id)
),

final as (
    select * from compared
    where
        (
            landed_tokens = tokens
            and first_position = 0
            and last_position = tokens - 1
            and position_sum = tokens * (tokens - 1) // 2
            and top_experts = case when ranked then tokens else 0 end
            and coalesce(last_expert, 0) < num_experts
            and entropies = case when has_distribution then tokens else 0 end
            and coalesce(min_entropy, 0) >= -tolerance
            and coalesce(max_entropy, 0) <= ln(num_experts) + tolerance
            and confidences = entropies
            and coalesce(min_confidence, 1) >= 1 / num_experts - tolerance
            and coalesce(max_confidence, 1) <= 1 + tolerance
        ) is not true
)

select * from final
