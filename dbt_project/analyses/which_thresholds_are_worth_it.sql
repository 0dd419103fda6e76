with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

thresholds as (
    select * from {{ ref('fct_fast_path_thresholds') }}
),

final as (
    select
        thresholds.layer,
        thresholds.frequency_threshold,
        thresholds.entropy_threshold,
        thresholds.table_tokens,
        round(thresholds.coverage, 3) as coverage,
        round(thresholds.top_agreement, 3) as top_agreement,
        round(thresholds.set_agreement, 3) as set_agreement,
        round(thresholds.retained_gate_mass, 3) as retained_gate_mass
    from thresholds
    inner join latest_run on thresholds.run_id = latest_run.run_id
    where
        thresholds.frequency_threshold in (0, 10, 100)
        and thresholds.entropy_threshold in (0.5, 1.0, 1.5, 2.0)
        and thresholds.covered_occurrences > 0
)

select * from final
order by layer, frequency_threshold, entropy_threshold
