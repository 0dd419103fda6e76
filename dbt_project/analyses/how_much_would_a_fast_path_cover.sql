with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

coverage as (
    select * from {{ ref('fct_fast_path_coverage') }}
),

final as (
    select
        coverage.layer,
        coverage.entropy_threshold,
        coverage.eligible_tokens,
        coverage.token_types,
        round(coverage.coverage, 3) as coverage
    from coverage
    inner join latest_run on coverage.run_id = latest_run.run_id
    where coverage.frequency_threshold = 50
)

select * from final
order by layer, entropy_threshold
