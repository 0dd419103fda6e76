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

sizes as (
    select
        run_id,
        layer,
        unnest({{ cache_sizes('num_experts', 'top_k') }}) as slots
    from layers
),

counted as (
    select
        run_key,
        layer,
        is_generated,
        policy,
        distance,
        sum(accesses) as accesses
    from uses
    where not is_of_domain
    group by run_key, layer, is_generated, policy, distance
),

served as (
    select
        runs.run_id,
        counted.layer,
        counted.is_generated,
        counted.policy,
        sizes.slots,
        {{ accesses_and_hits('counted.accesses', 'counted.distance < sizes.slots') }}
    from counted
    inner join runs on counted.run_key = runs.run_key
    inner join sizes on runs.run_id = sizes.run_id and counted.layer = sizes.layer
    group by
        runs.run_id,
        counted.layer,
        counted.is_generated,
        counted.policy,
        sizes.slots
),

final as (
    select
        served.run_id,
        served.layer,
        {{ phase('served.is_generated') }} as phase,
        served.policy,
        served.slots,
        layers.moe_index,
        served.accesses,
        served.hits,
        served.hits / served.accesses as hit_rate,
        (served.accesses - served.hits) * layers.top_k / served.accesses as misses_per_token,
        (served.accesses - served.hits) * layers.top_k / served.accesses * layers.expert_bytes
            as bytes_per_token,
        served.slots / layers.num_experts as chance_hit_rate
    from served
    inner join layers on served.run_id = layers.run_id and served.layer = layers.layer
)

select * from final
