with shards as (
    select * from {{ ref('stg_shards') }}
),

runs as (
    select * from {{ ref('stg_runs') }}
),

final as (
    select shards.run_id
    from shards
    left join runs on shards.run_id = runs.run_id
    group by shards.run_id
    having bool_or(shards.is_waiting) or bool_or(shards.is_new and runs.run_id is null)
)

select * from final
