with coverage as (
    select * from {{ ref('fct_fast_path_coverage') }}
    where {{ of_new_runs() }}
),

neighbours as (
    select
        *,
        lag(covered_occurrences, 1, 0) over by_entropy as stricter_entropy_covers,
        lag(covered_occurrences, 1, 0) over by_frequency as stricter_frequency_covers,
        lag(eligible_tokens, 1, 0) over by_entropy as stricter_entropy_tokens,
        lag(eligible_tokens, 1, 0) over by_frequency as stricter_frequency_tokens
    from coverage
    window
        by_entropy as (
            partition by run_id, layer, frequency_threshold
            order by entropy_threshold
        ),
        by_frequency as (
            partition by run_id, layer, entropy_threshold
            order by frequency_threshold desc
        )
),

final as (
    select * from neighbours
    where
        (
            covered_occurrences >= stricter_entropy_covers
            and covered_occurrences >= stricter_frequency_covers
            and eligible_tokens >= stricter_entropy_tokens
            and eligible_tokens >= stricter_frequency_tokens
            and eligible_tokens <= token_types
            and covered_occurrences between eligible_tokens and occurrences
            and coverage = covered_occurrences / occurrences
        ) is not true
)

select * from final
