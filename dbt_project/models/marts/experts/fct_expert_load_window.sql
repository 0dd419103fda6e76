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

windowed as (
    select
        run_key,
        layer,
        expert,
        unnest(windows) as part
    from calibrated
),

final as (
    select
        runs.run_id,
        windowed.layer,
        windowed.part.load_window,
        windowed.part.split,
        cast(windowed.expert as integer) as expert,
        layers.moe_index,
        windowed.part.selections
    from windowed
    inner join runs on windowed.run_key = runs.run_key
    inner join layers on runs.run_id = layers.run_id and windowed.layer = layers.layer
)

select * from final
