with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

samples as (
    select * from {{ ref('dim_sample') }}
),

by_domain as (
    select
        samples.domain,
        samples.split,
        count(*) as samples,
        cast(sum(samples.tokens) as bigint) as tokens,
        cast(sum(samples.dropped_tokens) as bigint) as dropped_tokens
    from samples
    inner join latest_run on samples.run_id = latest_run.run_id
    group by samples.domain, samples.split
),

final as (
    select
        *,
        round(tokens / sum(tokens) over (), 3) as share_of_tokens
    from by_domain
)

select * from final
order by domain, split
