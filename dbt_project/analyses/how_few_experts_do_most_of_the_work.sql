with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

expert_coverage as (
    select * from {{ ref('fct_expert_coverage') }}
),

final as (
    select
        expert_coverage.layer,
        max(expert_coverage.top_experts) as num_experts,
        min(expert_coverage.top_experts)
        filter (where expert_coverage.activation_share >= 0.5) as experts_for_half,
        min(expert_coverage.top_experts)
        filter (where expert_coverage.activation_share >= 0.9) as experts_for_nine_tenths
    from expert_coverage
    inner join latest_run on expert_coverage.run_id = latest_run.run_id
    group by expert_coverage.layer
)

select * from final
order by layer
