with uses as (
    select * from {{ ref('int_domain_cache_use') }}
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

served as (
    select
        runs.run_id,
        uses.profile_domain,
        uses.domain,
        sizes.slots,
        {{ accesses_and_hits('uses.accesses', 'uses.distance < sizes.slots') }}
    from uses
    inner join runs on uses.run_key = runs.run_key
    inner join sizes on runs.run_id = sizes.run_id
    group by runs.run_id, uses.profile_domain, uses.domain, sizes.slots
),

final as (
    select
        run_id,
        profile_domain,
        domain,
        slots,
        accesses,
        hits,
        hits / accesses as hit_rate
    from served
)

select * from final
