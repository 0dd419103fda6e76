with calibrated as (
    select * from {{ ref('int_calibrated_expert') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

grid as (
    select
        runs.run_key,
        layers.run_id,
        layers.layer,
        layers.moe_index,
        cast(unnest(range(layers.num_experts)) as integer) as expert
    from layers
    inner join runs on layers.run_id = runs.run_id
),

final as (
    select
        grid.run_id,
        grid.layer,
        grid.expert,
        grid.moe_index,
        coalesce(calibrated.selections, 0) as selections,
        coalesce(calibrated.samples, 0) as samples,
        coalesce(calibrated.documents, 0) as documents,
        calibrated.first_sample_id,
        calibrated.samples_until_1_token,
        calibrated.samples_until_10_tokens,
        calibrated.samples_until_100_tokens,
        calibrated.samples_until_1000_tokens
    from grid
    left join calibrated
        on
            grid.run_key = calibrated.run_key
            and grid.layer = calibrated.layer
            and grid.expert = calibrated.expert
)

select * from final
