with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

runs as (
    select * from {{ ref('dim_run') }}
),

coverage as (
    select * from {{ ref('fct_calibration_coverage') }}
),

experts as (
    select
        unnest([1, 10, 100, 1000]) as minimum_tokens,
        unnest([
            coverage.samples_until_1_token,
            coverage.samples_until_10_tokens,
            coverage.samples_until_100_tokens,
            coverage.samples_until_1000_tokens
        ]) as samples_needed
    from coverage
    inner join latest_run on coverage.run_id = latest_run.run_id
),

sizes as (
    select unnest([1, 4, 16, 64, 256, 1024, 4096, 16384, runs.samples]) as samples
    from runs
    inner join latest_run on runs.run_id = latest_run.run_id
),

run_sizes as (
    select distinct sizes.samples
    from sizes
    cross join latest_run
    inner join runs on latest_run.run_id = runs.run_id
    where sizes.samples <= runs.samples
),

final as (
    select
        experts.minimum_tokens,
        run_sizes.samples,
        round(avg(cast(coalesce(experts.samples_needed <= run_sizes.samples, false) as integer)), 4)
            as share_of_experts,
        count(*) filter (where experts.samples_needed is null) as experts_that_never_do
    from experts
    cross join run_sizes
    group by experts.minimum_tokens, run_sizes.samples
)

select * from final
order by minimum_tokens asc, samples asc
