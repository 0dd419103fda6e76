{{ config(materialized='table') }}

with layers as (
    select * from {{ ref('stg_layers') }}
),

final as (
    select
        run_id,
        layer,
        moe_index,
        stack,
        block,
        router_path,
        scoring,
        num_experts,
        top_k,
        weights_sum_to_one,
        has_weights,
        has_distribution,
        ranked,
        has_output_norms,
        expert_bytes
    from layers
)

select * from final
