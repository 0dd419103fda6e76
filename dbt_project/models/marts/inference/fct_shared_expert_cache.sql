with uses as (
    select * from {{ ref('int_shared_cache_use') }}
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
        cast(count(*) as integer) as layers,
        cast(sum(num_experts) as integer) as experts,
        sum(top_k) as accesses_per_token,
        avg(expert_bytes) as expert_bytes
    from layers
    group by run_id
),

sizes as (
    select
        run_id,
        unnest({{ cache_sizes('experts', 'accesses_per_token') }}) as slots
    from routers
),

served as (
    select
        runs.run_id,
        uses.is_generated,
        uses.policy,
        sizes.slots,
        {{ accesses_and_hits('uses.accesses', 'uses.distance < sizes.slots') }}
    from uses
    inner join runs on uses.run_key = runs.run_key
    inner join sizes on runs.run_id = sizes.run_id
    group by runs.run_id, uses.is_generated, uses.policy, sizes.slots
),

final as (
    select
        served.run_id,
        {{ phase('served.is_generated') }} as phase,
        served.policy,
        served.slots,
        routers.layers,
        served.accesses,
        served.hits,
        served.hits / served.accesses as hit_rate,
        (served.accesses - served.hits) * routers.accesses_per_token / served.accesses
            as misses_per_token,
        (served.accesses - served.hits) * routers.accesses_per_token / served.accesses
        * routers.expert_bytes as bytes_per_token,
        served.slots / routers.experts as chance_hit_rate
    from served
    inner join routers on served.run_id = routers.run_id
)

select * from final
