with layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

runs as (
    select * from {{ ref('dim_run') }}
    where {{ of_new_runs() }}
),

batch_experts as (
    select * from {{ ref('fct_batch_experts') }}
    where {{ of_new_runs() }}
),

neighbours as (
    select
        *,
        sum(batches) filter (where size = 1) over (partition by run_id, layer, batch_of)
            as single_tokens,
        lag(size) over by_size as half_size,
        lag(batches) over by_size as halves,
        lag(mean_experts) over by_size as half_mean_experts,
        lag(min_experts) over by_size as half_min_experts,
        lag(max_experts) over by_size as half_max_experts
    from batch_experts
    window by_size as (partition by run_id, layer, phase, batch_of order by size)
),

missing as (
    select
        layers.run_id,
        layers.layer
    from layers
    inner join runs on layers.run_id = runs.run_id
    anti join batch_experts
        on layers.run_id = batch_experts.run_id and layers.layer = batch_experts.layer
    where runs.tokens > 0
),

wrong as (
    select
        neighbours.run_id,
        neighbours.layer,
        neighbours.phase,
        neighbours.batch_of,
        neighbours.size
    from neighbours
    inner join layers
        on neighbours.run_id = layers.run_id and neighbours.layer = layers.layer
    where
        (
            neighbours.mean_experts
            <= least(layers.num_experts, layers.top_k * neighbours.size) + 1e-9
            and neighbours.max_experts <= least(layers.num_experts, layers.top_k * neighbours.size)
            and neighbours.min_experts >= layers.top_k
            and neighbours.single_tokens >= neighbours.batches * neighbours.size
            and (neighbours.size = 1) = (neighbours.half_size is null)
            and coalesce(neighbours.half_size * 2 = neighbours.size, true)
            and coalesce(neighbours.halves >= 2 * neighbours.batches, true)
            and coalesce(neighbours.min_experts >= neighbours.half_min_experts, true)
            and coalesce(neighbours.max_experts <= 2 * neighbours.half_max_experts, true)
            -- a batch touches no fewer than its halves, except for those that are in none
            and coalesce(
                2 * neighbours.batches * neighbours.mean_experts
                >= neighbours.halves * neighbours.half_mean_experts
                - (neighbours.halves - 2 * neighbours.batches) * neighbours.half_max_experts
                - 1e-3,
                true
            )
        ) is not true
),

final as (
    select * from wrong
    union all by name
    select * from missing
)

select * from final
