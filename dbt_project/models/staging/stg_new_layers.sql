with layers as (
    select * from {{ source('lake', 'layers') }}
),

touched_runs as (
    select run_id from {{ ref('stg_shards') }}
    where is_new
    union
    select run_id from {{ ref('stg_new_runs') }}
),

final as (
    select
        layers.run_id,
        {{ run_key('layers.run_id') }} as run_key,
        layers.layer,
        layers.moe_index,
        layers.stack,
        layers.num_experts,
        layers.top_k
    from layers
    semi join touched_runs on layers.run_id = touched_runs.run_id
)

select * from final
