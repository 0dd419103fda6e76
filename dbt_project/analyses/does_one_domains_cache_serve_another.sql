with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

transfers as (
    select * from {{ ref('fct_expert_cache_transfer') }}
),

largest as (
    select max(transfers.slots) as experts
    from transfers
    inner join latest_run on transfers.run_id = latest_run.run_id
),

-- caches of a quarter of the experts
final as (
    select
        transfers.profile_domain,
        transfers.domain,
        transfers.slots,
        round(transfers.hit_rate, 3) as hit_rate,
        round(transfers.slots / largest.experts, 3) as chance
    from transfers
    inner join latest_run on transfers.run_id = latest_run.run_id
    inner join largest on transfers.slots = ceil(largest.experts / 4)
)

select * from final
order by domain asc, hit_rate desc, profile_domain asc
