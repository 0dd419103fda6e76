with frequency_rank as (
    select * from {{ ref('fct_frequency_rank') }}
    where {{ of_new_runs() }}
),

neighbours as (
    select
        *,
        lag(frequency_rank, 1, 0) over by_rank as previous_rank,
        lag(frequency, 1, frequency) over by_rank as previous_frequency,
        lag(cumulative_share, 1, 0) over by_rank as previous_share,
        lead(frequency_rank) over by_rank is null as is_last
    from frequency_rank
    window by_rank as (partition by run_id order by frequency_rank)
),

final as (
    select * from neighbours
    where
        (
            frequency_rank = previous_rank + 1
            and frequency <= previous_frequency
            and cumulative_share >= previous_share
            and abs(cumulative_share - previous_share - share) < 1e-9
            and (not is_last or abs(cumulative_share - 1) < 1e-9)
        ) is not true
)

select * from final
