with layers as (
    select * from {{ ref('stg_layers') }}
),

final as (
    select
        run_id,
        layer,
        moe_index,
        stack,
        router_path,
        scoring,
        num_experts,
        top_k
    from layers
)

select * from final
