with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

domain_expert as (
    select * from {{ ref('fct_domain_expert') }}
),

final as (
    select
        domain_expert.layer,
        domain_expert.expert,
        domain_expert.domain,
        domain_expert.domain_tokens,
        round(domain_expert.specialisation, 4) as specialisation,
        round(domain_expert.uniform_specialisation, 4) as uniform_specialisation,
        round(domain_expert.specialisation / domain_expert.uniform_specialisation, 3)
            as times_uniform
    from domain_expert
    inner join latest_run on domain_expert.run_id = latest_run.run_id
    where domain_expert.domain_tokens >= 1000
)

select * from final
order by times_uniform desc, layer asc, expert asc, domain asc
limit 10
