with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
),

final as (
    select
        layer_routing.layer,
        layer_routing.num_experts,
        round(layer_routing.max_load_ratio, 3) as max_load_ratio,
        round(layer_routing.max_violation, 3) as max_violation,
        round(layer_routing.load_variation, 3) as load_variation,
        round(layer_routing.jain_index, 3) as jain_index,
        layer_routing.dead_experts,
        round(layer_routing.dropped_share, 4) as dropped_share
    from layer_routing
    inner join latest_run on layer_routing.run_id = latest_run.run_id
)

select * from final
order by layer
