with thresholds as (
    select * from {{ ref('fct_fast_path_thresholds') }}
    where {{ of_new_runs() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

held_out as (
    select
        run_id,
        coalesce(sum(tokens) filter (where split <> 'train'), 0) as tokens
    from samples
    group by run_id
),

neighbours as (
    select
        thresholds.*,
        held_out.tokens as held_out_tokens,
        lag(thresholds.covered_occurrences, 1, 0) over by_entropy as stricter_entropy_covers,
        lag(thresholds.covered_occurrences, 1, 0) over by_frequency as stricter_frequency_covers,
        lag(thresholds.table_tokens, 1, 0) over by_entropy as stricter_entropy_holds,
        lag(thresholds.table_tokens, 1, 0) over by_frequency as stricter_frequency_holds
    from thresholds
    left join held_out on thresholds.run_id = held_out.run_id
    window
        by_entropy as (
            partition by thresholds.run_id, thresholds.layer, thresholds.frequency_threshold
            order by thresholds.entropy_threshold
        ),
        by_frequency as (
            partition by thresholds.run_id, thresholds.layer, thresholds.entropy_threshold
            order by thresholds.frequency_threshold desc
        )
),

final as (
    select * from neighbours
    where
        (
            held_out_occurrences = held_out_tokens
            and covered_occurrences >= stricter_entropy_covers
            and covered_occurrences >= stricter_frequency_covers
            and table_tokens >= stricter_entropy_holds
            and table_tokens >= stricter_frequency_holds
        ) is not true
)

select * from final
