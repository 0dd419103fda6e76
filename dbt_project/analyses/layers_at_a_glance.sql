with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

layers as (
    select * from {{ ref('dim_layer') }}
),

layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
),

final as (
    select
        layers.layer,
        layers.stack,
        layers.num_experts,
        layers.top_k,
        layers.scoring,
        round(layer_routing.mean_entropy, 3) as mean_entropy,
        round(layer_routing.normalised_entropy, 3) as normalised_entropy,
        round(layer_routing.mean_confidence, 3) as mean_confidence,
        round(layer_routing.routing_consistency, 3) as routing_consistency
    from layer_routing
    inner join latest_run on layer_routing.run_id = latest_run.run_id
    inner join layers
        on layer_routing.run_id = layers.run_id and layer_routing.layer = layers.layer
)

select * from final
order by layer
