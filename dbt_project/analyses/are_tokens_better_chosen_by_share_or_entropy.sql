with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

shares as (
    select * from {{ ref('fct_fast_path_shares') }}
),

thresholds as (
    select * from {{ ref('fct_fast_path_thresholds') }}
),

by_share as (
    select
        shares.min_share,
        shares.min_frequency,
        sum(shares.covered_occurrences) / sum(shares.held_out_occurrences) as coverage,
        sum(shares.set_agreement * shares.covered_occurrences)
        / nullif(sum(shares.covered_occurrences), 0) as set_agreement
    from shares
    inner join latest_run on shares.run_id = latest_run.run_id
    where shares.min_frequency in (1, 10, 50)
    group by shares.min_share, shares.min_frequency
),

by_entropy as (
    select
        thresholds.frequency_threshold,
        thresholds.entropy_threshold,
        sum(thresholds.covered_occurrences) / sum(thresholds.held_out_occurrences) as coverage,
        sum(thresholds.set_agreement * thresholds.covered_occurrences)
        / nullif(sum(thresholds.covered_occurrences), 0) as set_agreement
    from thresholds
    inner join latest_run on thresholds.run_id = latest_run.run_id
    group by thresholds.frequency_threshold, thresholds.entropy_threshold
),

final as (
    select
        by_share.min_share,
        by_share.min_frequency,
        round(by_share.coverage, 3) as coverage,
        round(by_share.set_agreement, 3) as set_agreement,
        arg_max(by_entropy.frequency_threshold, by_entropy.set_agreement) as frequency_threshold,
        arg_max(by_entropy.entropy_threshold, by_entropy.set_agreement) as entropy_threshold,
        round(arg_max(by_entropy.coverage, by_entropy.set_agreement), 3) as coverage_by_entropy,
        round(max(by_entropy.set_agreement), 3) as set_agreement_by_entropy
    from by_share
    -- that cover no less
    left join by_entropy on by_share.coverage <= by_entropy.coverage
    where by_share.coverage > 0
    group by
        by_share.min_share,
        by_share.min_frequency,
        by_share.coverage,
        by_share.set_agreement
)

select * from final
order by min_frequency, min_share
