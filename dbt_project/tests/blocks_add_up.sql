with token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

token_consistency as (
    select * from {{ ref('fct_token_consistency') }}
    where {{ of_new_runs() }}
),

block_routing as (
    select * from {{ ref('fct_block_routing') }}
    where {{ of_new_runs() }}
),

added as (
    select
        run_id,
        layer,
        token_id,
        sum(occurrences) as occurrences,
        sum(entropy_sum) as entropy_sum
    from block_routing
    group by run_id, layer, token_id
),

final as (
    select
        run_id,
        layer,
        token_id,
        token_routing.frequency,
        added.occurrences,
        token_consistency.frequency as consistency_frequency,
        token_routing.mean_entropy,
        added.entropy_sum
    from token_routing
    full outer join added using (run_id, layer, token_id)
    full outer join token_consistency using (run_id, layer, token_id)
    where
        (
            added.occurrences = token_routing.frequency
            and token_consistency.frequency = token_routing.frequency
            and token_consistency.routing_consistency
            is not distinct from token_routing.routing_consistency
            and (added.entropy_sum is null) = (token_routing.mean_entropy is null)
            and coalesce(abs(added.entropy_sum / added.occurrences - token_routing.mean_entropy), 0)
            <= 1e-9 * coalesce(abs(token_routing.mean_entropy), 0)
        ) is not true
)

select * from final
