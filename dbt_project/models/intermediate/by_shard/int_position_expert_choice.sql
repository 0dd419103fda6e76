with events as (
    select
        run_key,
        layer,
        experts,
        entropy,
        -- 0, 1, 2-3, 4-7, …: the number of binary digits of the position
        cast(coalesce(floor(log2(nullif(position, 0))) + 1, 0) as smallint) as position_bucket
    from {{ ref('stg_new_events') }}
),

ranks as (
    {{ ranks() }}
),

choices as (
    select
        events.run_key,
        events.layer,
        events.position_bucket,
        ranks.rank = 1 as is_first_choice,
        events.experts[ranks.rank] as expert,
        events.entropy
    from events
    cross join ranks
),

final as (
    select
        run_key,
        layer,
        position_bucket,
        is_first_choice,
        expert,
        count(*) as selections,
        sum(cast(entropy as double)) as entropy_sum,
        {{ m2('entropy') }} as entropy_m2
    from choices
    where expert is not null
    group by run_key, layer, position_bucket, is_first_choice, expert
)

select * from final
