with agreement as (
    select * from {{ ref('fct_fast_path_agreement') }}
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
        agreement.*,
        held_out.tokens as held_out_tokens,
        lag(agreement.covered_occurrences, 1, 0) over by_size as smaller_covers,
        lag(agreement.table_tokens, 1, 0) over by_size as smaller_holds
    from agreement
    left join held_out on agreement.run_id = held_out.run_id
    window by_size as (partition by agreement.run_id, agreement.layer order by agreement.table_size)
),

final as (
    select * from neighbours
    where
        (
            held_out_occurrences = held_out_tokens
            and covered_occurrences >= smaller_covers
            and table_tokens >= smaller_holds
            and (covered_occurrences > smaller_covers) <= (table_tokens > smaller_holds)
        ) is not true
)

select * from final
