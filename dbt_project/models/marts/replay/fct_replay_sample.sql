with replays as (
    select * from {{ ref('stg_replays') }}
    where {{ of_new_replays() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_replays() }}
),

summed as (
    select
        *,
        rows * len(covered) as token_layers,
        cast(list_sum(covered) as bigint) as all_covered,
        cast(list_sum(agreed) as bigint) as all_agreed,
        list_sum(undisturbed) as all_undisturbed,
        list_sum(experts_run) as all_experts_run
    from replays
),

final as (
    select
        summed.run_id,
        summed.policy_id,
        summed.sample_id,
        samples.domain,
        samples.document_sha256,
        summed.tokens,
        summed.nll / nullif(summed.tokens, 0) as nll,
        summed.untouched_nll / nullif(summed.tokens, 0) as untouched_nll,
        (summed.nll - summed.untouched_nll) / nullif(summed.tokens, 0) as delta_nll,
        summed.kl / nullif(summed.tokens, 0) as kl,
        summed.same_top / nullif(summed.tokens, 0) as same_top_share,
        summed.token_layers,
        summed.all_covered as covered,
        summed.all_agreed as agreed,
        summed.all_covered / nullif(summed.token_layers, 0) as coverage,
        summed.all_agreed / nullif(summed.all_covered, 0) as set_agreement,
        summed.all_undisturbed / nullif(summed.token_layers, 0) as undisturbed_share,
        summed.all_experts_run / nullif(summed.token_layers, 0) as experts_per_token
    from summed
    left join samples
        on summed.run_id = samples.run_id and summed.sample_id = samples.sample_id
)

select * from final
