with uses as (
    select * from {{ ref('int_expert_cache_use') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

routers as (
    select
        run_id,
        max(num_experts) as num_experts,
        max(top_k) as top_k
    from layers
    group by run_id
),

sizes as (
    select
        run_id,
        unnest({{ cache_sizes('num_experts', 'top_k') }}) as slots
    from routers
),

counted as (
    select
        run_key,
        sample_id,
        is_generated,
        policy,
        distance,
        sum(accesses) filter (where not is_of_domain) as accesses,
        sum(accesses) filter (where is_of_domain) as domain_accesses
    from uses
    group by run_key, sample_id, is_generated, policy, distance
),

final as (
    select
        runs.run_id,
        counted.sample_id,
        {{ phase('counted.is_generated') }} as phase,
        counted.policy,
        sizes.slots,
        {{ accesses_and_hits('counted.accesses', 'counted.distance < sizes.slots') }},
        cast(
            case
                when sum(counted.domain_accesses) > 0
                    then
                        coalesce(
                            sum(counted.domain_accesses)
                            filter (where counted.distance < sizes.slots),
                            0
                        )
            end as bigint
        ) as hits_in_domain
    from counted
    inner join runs on counted.run_key = runs.run_key
    inner join sizes on runs.run_id = sizes.run_id
    group by
        runs.run_id,
        counted.sample_id,
        counted.is_generated,
        counted.policy,
        sizes.slots
)

select * from final
