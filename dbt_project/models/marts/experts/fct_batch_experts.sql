with batches as (
    select * from {{ ref('int_batch_expert') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

final as (
    select
        runs.run_id,
        batches.layer,
        {{ phase('batches.is_generated') }} as phase,
        case when batches.is_of_sequences then 'sequences' else 'tokens' end as batch_of,
        batches.size,
        layers.moe_index,
        batches.batches,
        batches.mean_experts,
        batches.min_experts,
        batches.max_experts,
        layers.num_experts * (1 - pow(1 - layers.top_k / layers.num_experts, batches.size))
            as uniform_experts
    from batches
    inner join runs on batches.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and batches.layer = layers.layer
)

select * from final
