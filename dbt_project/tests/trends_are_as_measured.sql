with trend as (
    select * from {{ ref('fct_run_trend') }}
),

layers as (
    select * from {{ ref('fct_layer_routing') }}
    where {{ of_new_runs() }}
),

wrong_measures as (
    select
        layers.run_id,
        layers.layer
    from layers
    left join trend on layers.run_id = trend.run_id and layers.layer = trend.layer
    where
        layers.mean_entropy is distinct from trend.mean_entropy
        or layers.max_load_ratio is distinct from trend.max_load_ratio
        or layers.dead_experts is distinct from trend.dead_experts
),

-- the second run of a series is compared with one run only
wrong_drifts as (
    select
        run_id,
        layer
    from trend
    where
        {{ of_new_runs() }}
        and previous_run_id = first_run_id
        and (
            shared_load_with_previous is distinct from shared_load_with_first
            or keep_set_overlap_with_previous is distinct from keep_set_overlap_with_first
        )
),

wrong_orders as (
    select
        trend.run_id,
        trend.layer
    from trend
    semi join {{ ref('stg_new_runs') }} as new_runs on trend.run_id = new_runs.run_id
    left join trend as previous
        on trend.previous_run_id = previous.run_id and trend.moe_index = previous.moe_index
    where
        (trend.previous_run_id is null) <> (trend.first_run_id = trend.run_id)
        or previous.series <> trend.series
        or previous.first_run_id <> trend.first_run_id
        or previous.started_at > trend.started_at
),

final as (
    select * from wrong_measures
    union all
    select * from wrong_drifts
    union all
    select * from wrong_orders
)

select * from final
