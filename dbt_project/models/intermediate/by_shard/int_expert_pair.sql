-- Pairs are counted under the two ids: there are fewer of these than of lists of many experts, of
-- which hardly two events have the same. All pairs of places first, and then those that an event
-- has: a condition in the join would copy each event's list for every pair.
with events as (
    select * from {{ ref('stg_new_events') }}
    where {{ in_these_layers() }}
),

ranks as (
    {{ ranks() }}
),

places as (
    select
        first_ranks.rank as place,
        second_ranks.rank as other_place,
        first_ranks.rank + 1 = second_ranks.rank as is_adjacent
    from ranks as second_ranks
    inner join ranks as first_ranks on second_ranks.rank > first_ranks.rank
),

pairs as (
    select
        events.run_key,
        events.layer,
        events.experts[places.place] as expert,
        events.experts[places.other_place] as other_expert,
        places.is_adjacent
    from events
    cross join places
),

counted as (
    select
        run_key,
        layer,
        expert,
        other_expert,
        count(*) as tokens,
        count(*) filter (where is_adjacent) as adjacent_tokens
    from pairs
    group by run_key, layer, expert, other_expert
),

final as (
    select * from counted
    where other_expert is not null
)

select * from final
