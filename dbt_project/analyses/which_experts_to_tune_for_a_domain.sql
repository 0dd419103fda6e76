with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

domain_expert as (
    select * from {{ ref('fct_domain_expert') }}
),

relevances as (
    select
        domain_expert.layer,
        domain_expert.domain,
        domain_expert.expert,
        unnest(['selection', 'gate']) as relevance,
        unnest([domain_expert.selection_share_before, domain_expert.gate_mass_share_before])
            as share_before,
        unnest([
            domain_expert.selection_relevance,
            domain_expert.gate_relevance / sum(domain_expert.gate_relevance) over (
                partition by domain_expert.layer, domain_expert.domain
            )
        ]) as share
    from domain_expert
    inner join latest_run on domain_expert.run_id = latest_run.run_id
),

final as (
    select
        layer,
        domain,
        relevance,
        count(*) as experts,
        sum(share) as share,
        list(expert order by share_before asc, expert asc) as expert_ids
    from relevances
    where share_before < 0.2
    group by layer, domain, relevance
)

select * from final
order by domain asc, relevance desc, layer asc
