with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

frequency_ranks as (
    select * from {{ ref('fct_frequency_rank') }}
),

of_the_run as (
    select frequency_ranks.*
    from frequency_ranks
    inner join latest_run on frequency_ranks.run_id = latest_run.run_id
),

parts as (
    select unnest([0.25, 0.5, 0.75, 0.9, 0.95, 0.99]) as part_of_the_text
),

final as (
    select
        parts.part_of_the_text,
        min(of_the_run.frequency_rank) as tokens_needed,
        max(of_the_run.frequency) as frequency_of_the_last
    from parts
    inner join of_the_run on parts.part_of_the_text <= of_the_run.cumulative_share
    group by parts.part_of_the_text
)

select * from final
order by part_of_the_text
