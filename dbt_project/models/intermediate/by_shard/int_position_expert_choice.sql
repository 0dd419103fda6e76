with events as (
    select * from {{ ref('stg_new_events') }}
    where {{ in_these_layers() }}
),

runs as (
    {{ new_maximum_lengths() }}
),

ranks as (
    {{ ranks() }}
),

placed as (
    select
        events.run_key,
        events.layer,
        events.experts,
        events.entropy,
        {{ window_position('events', 'runs') }} as window_position,
        {{ position_bucket('window_position') }} as position_bucket
    from events
    inner join runs on events.run_key = runs.run_key
),

choices as (
    select
        placed.run_key,
        placed.layer,
        placed.position_bucket,
        -- every event has one, whether or not it is a first choice
        ranks.rank = 1 as is_first,
        placed.experts[ranks.rank] as expert,
        placed.entropy
    from placed
    cross join ranks
),

final as (
    select
        run_key,
        layer,
        position_bucket,
        is_first,
        expert,
        count(*) as selections,
        sum(cast(entropy as double)) as entropy_sum,
        {{ m2('entropy') }} as entropy_m2
    from choices
    where expert is not null
    group by run_key, layer, position_bucket, is_first, expert
)

select * from final
