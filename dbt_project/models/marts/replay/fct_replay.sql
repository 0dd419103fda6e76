with replays as (
    select * from {{ ref('stg_replays') }}
    where {{ of_new_replays() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_replays() }}
),

replay_layers as (
    select * from {{ ref('fct_replay_layer') }}
    where {{ of_new_replays() }}
),

summed as (
    select
        replays.run_id,
        replays.policy_id,
        -- versions may put it differently
        min(replays.policy) as policy,
        any_value(replays.kind) as kind,
        any_value(replays.ids_only) as ids_only,
        any_value(replays.min_share) as min_share,
        any_value(replays.min_frequency) as min_frequency,
        any_value(replays.frequency_threshold) as frequency_threshold,
        any_value(replays.entropy_threshold) as entropy_threshold,
        any_value(replays.table_size) as table_size,
        any_value(replays.weight_threshold) as weight_threshold,
        any_value(replays.ranked_by) as ranked_by,
        any_value(replays.masked_experts) as masked_experts,
        any_value(replays.routing_of) as routing_of,
        any_value(replays.moe_indices) as moe_indices,
        any_value(replays.controls) as controls,
        any_value(replays.is_control) as is_control,
        count(distinct samples.document_sha256) as documents,
        count(*) as samples,
        cast(sum(replays.tokens) as bigint) as tokens,
        sum(replays.nll) as nll,
        sum(replays.untouched_nll) as untouched_nll,
        -- of equal likelihoods 0, however their sums are rounded
        sum(replays.nll - replays.untouched_nll) as added_nll,
        sum(replays.kl) as kl,
        sum(replays.same_top) as same_top
    from replays
    left join samples
        on replays.run_id = samples.run_id and replays.sample_id = samples.sample_id
    group by replays.run_id, replays.policy_id
),

merged as (
    select
        run_id,
        policy_id,
        count(*) as layers,
        cast(sum(rows) as bigint) as token_layers,
        cast(sum(covered) as bigint) as covered,
        cast(sum(agreed) as bigint) as agreed,
        avg(undisturbed_share) as undisturbed_share,
        avg(experts_per_token) as experts_per_token,
        count(predicted_coverage) as predicted_layers,
        avg(predicted_coverage) as predicted_coverage,
        sum(predicted_agreement * predicted_occurrences)
        / nullif(sum(predicted_occurrences), 0) as predicted_agreement
    from replay_layers
    group by run_id, policy_id
),

final as (
    select
        summed.run_id,
        summed.policy_id,
        summed.policy,
        summed.kind,
        summed.ids_only,
        summed.min_share,
        summed.min_frequency,
        summed.frequency_threshold,
        summed.entropy_threshold,
        summed.table_size,
        summed.weight_threshold,
        summed.ranked_by,
        summed.masked_experts,
        summed.routing_of,
        summed.moe_indices,
        summed.controls,
        summed.is_control,
        summed.documents,
        summed.samples,
        summed.tokens,
        summed.nll / nullif(summed.tokens, 0) as nll,
        summed.untouched_nll / nullif(summed.tokens, 0) as untouched_nll,
        summed.added_nll / nullif(summed.tokens, 0) as delta_nll,
        exp(summed.added_nll / nullif(summed.tokens, 0)) as perplexity_ratio,
        summed.kl / nullif(summed.tokens, 0) as kl,
        summed.same_top / nullif(summed.tokens, 0) as same_top_share,
        merged.token_layers,
        merged.covered,
        merged.agreed,
        merged.covered / nullif(merged.token_layers, 0) as coverage,
        merged.agreed / nullif(merged.covered, 0) as set_agreement,
        merged.undisturbed_share,
        merged.experts_per_token,
        cast(coalesce(len(summed.moe_indices), merged.layers) as integer) as layers_overruled,
        if(merged.predicted_layers = merged.layers, merged.predicted_coverage, null)
            as predicted_coverage,
        if(merged.predicted_layers = merged.layers, merged.predicted_agreement, null)
            as predicted_agreement
    from summed
    inner join merged on summed.run_id = merged.run_id and summed.policy_id = merged.policy_id
)

select * from final
