with flips as (
    select * from {{ ref('fct_run_flip') }}
),

mismatch as (
    select * from {{ ref('fct_run_mismatch') }}
),

by_margin as (
    select
        run_id,
        other_run_id,
        layer,
        smallest_margin,
        sum(tokens) as tokens,
        sum(set_flips) as set_flips,
        sum(top_flips) as top_flips
    from flips
    group by run_id, other_run_id, layer, smallest_margin
),

final as (
    select
        run_id,
        other_run_id,
        by_margin.layer,
        by_margin.smallest_margin,
        by_margin.tokens,
        round(by_margin.set_flips / by_margin.tokens, 4) as set_flip_share,
        round(by_margin.top_flips / by_margin.tokens, 4) as top_flip_share,
        round(mismatch.flipped_token_share, 4) as flipped_token_share
    from by_margin
    inner join mismatch using (run_id, other_run_id)
)

select * from final
order by run_id, other_run_id, layer, smallest_margin
