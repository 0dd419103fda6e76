{{ config(alias='layers') }}

with layers as (
    select * from {{ lake('layers') }}
),

finished_runs as (
    select
        run_id,
        has_output_norms
    from {{ ref('stg_runs') }}
),

final as (
    select
        layers.run_id,
        layers.layer,
        layers.moe_index,
        layers.stack,
        layers.block,
        layers.router_path,
        layers.scoring,
        layers.num_experts,
        layers.top_k,
        layers.weights_sum_to_one,
        layers.has_weights,
        layers.has_distribution,
        layers.ranked,
        finished_runs.has_output_norms,
        layers.expert_bytes
    from layers
    inner join finished_runs on layers.run_id = finished_runs.run_id
)

select * from final
