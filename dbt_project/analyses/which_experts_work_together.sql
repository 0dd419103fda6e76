with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

coactivation as (
    select * from {{ ref('fct_expert_coactivation') }}
),

ranked as (
    select
        coactivation.*,
        row_number() over (
            partition by coactivation.layer
            order by
                coactivation.probability desc,
                coactivation.expert asc,
                coactivation.other_expert asc
        ) as place
    from coactivation
    inner join latest_run on coactivation.run_id = latest_run.run_id
),

final as (
    select
        layer,
        expert,
        other_expert,
        tokens,
        round(probability, 4) as probability,
        round(uniform_probability, 4) as uniform_probability
    from ranked
    where place <= 3
)

select * from final
order by layer asc, probability desc
