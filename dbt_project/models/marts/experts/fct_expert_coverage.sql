with expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

ranked as (
    select
        *,
        row_number() over busiest_first as top_experts,
        sum(load) over busiest_first as covered_activations,
        sum(load) over (partition by run_id, layer) as activations,
        count(*) over (partition by run_id, layer) as num_experts
    from expert_load
    window busiest_first as (
        partition by run_id, layer
        order by load desc, expert asc
        rows between unbounded preceding and current row
    )
),

final as (
    select
        run_id,
        layer,
        cast(top_experts as integer) as top_experts,
        moe_index,
        expert as last_expert,
        top_experts / num_experts as expert_share,
        cast(covered_activations as bigint) as covered_activations,
        cast(activations as bigint) as activations,
        covered_activations / nullif(activations, 0) as activation_share
    from ranked
)

select * from final
