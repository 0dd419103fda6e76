with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

coverage as (
    select * from {{ ref('fct_calibration_coverage') }}
),

final as (
    select
        coverage.layer,
        count(*) filter (where coverage.samples_until_1_token is null) as never_selected,
        count(*) filter (where coverage.samples_until_10_tokens is null) as below_10_tokens,
        count(*) filter (where coverage.samples_until_100_tokens is null) as below_100_tokens,
        list(coverage.expert order by coverage.selections, coverage.expert) filter (
            where coverage.samples_until_1000_tokens is null
        ) as experts_below_1000_tokens
    from coverage
    inner join latest_run on coverage.run_id = latest_run.run_id
    group by coverage.layer
)

select * from final
order by layer
