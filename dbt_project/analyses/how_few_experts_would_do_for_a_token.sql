with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

adaptive as (
    select * from {{ ref('fct_adaptive_k') }}
),

final as (
    select
        adaptive.rule,
        adaptive.threshold,
        round(avg(adaptive.mean_experts), 3) as mean_experts,
        round(min(adaptive.mean_experts), 3) as fewest_in_a_layer,
        round(max(adaptive.mean_experts), 3) as most_in_a_layer,
        round(avg(adaptive.retained_gate_mass), 4) as retained_gate_mass,
        round(min(adaptive.retained_gate_mass), 4) as least_in_a_layer
    from adaptive
    inner join latest_run on adaptive.run_id = latest_run.run_id
    group by adaptive.rule, adaptive.threshold
)

select * from final
order by rule desc, threshold asc
