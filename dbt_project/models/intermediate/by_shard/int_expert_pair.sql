with events as (
    select * from {{ ref('stg_new_events') }}
),

ranks as (
    {{ ranks() }}
),

counted as (
    select
        run_key,
        layer,
        experts,
        count(*) as tokens
    from events
    group by run_key, layer, experts
),

pairs as (
    select
        counted.run_key,
        counted.layer,
        counted.experts[first_ranks.rank] as expert,
        counted.experts[second_ranks.rank] as other_expert,
        first_ranks.rank + 1 = second_ranks.rank as is_adjacent,
        counted.tokens
    from counted
    inner join ranks as second_ranks on second_ranks.rank <= len(counted.experts)
    inner join ranks as first_ranks on second_ranks.rank > first_ranks.rank
),

final as (
    select
        run_key,
        layer,
        expert,
        other_expert,
        cast(sum(tokens) as bigint) as tokens,
        cast(coalesce(sum(tokens) filter (where is_adjacent), 0) as bigint) as adjacent_tokens
    from pairs
    group by run_key, layer, expert, other_expert
)

select * from final
