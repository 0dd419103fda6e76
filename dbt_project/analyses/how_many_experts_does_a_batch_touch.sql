with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

batch_experts as (
    select * from {{ ref('fct_batch_experts') }}
),

final as (
    select
        batch_experts.batch_of,
        batch_experts.phase,
        batch_experts.size,
        round(avg(batch_experts.mean_experts), 2) as mean_experts,
        min(batch_experts.min_experts) as min_experts,
        max(batch_experts.max_experts) as max_experts,
        round(avg(batch_experts.uniform_experts), 2) as uniform_experts,
        round(avg(batch_experts.mean_experts / batch_experts.uniform_experts), 3)
            as share_of_uniform
    from batch_experts
    inner join latest_run on batch_experts.run_id = latest_run.run_id
    group by batch_experts.batch_of, batch_experts.phase, batch_experts.size
)

select * from final
order by batch_of desc, phase desc, size asc
