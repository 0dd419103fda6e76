with events as (
    select * from {{ ref('stg_new_run_events') }}
    where layer = {{ this_layer() }}
),

ranks as (
    {{ ranks() }}
),

segment_lengths as (
    select unnest(cast({{ var('segment_lengths') }} as integer[])) as segment_length
),

chosen as (
    {{ chosen_samples() }}
),

chosen_events as (
    select
        events.*,
        {{ window_position('events', 'chosen') }} as window_position,
        events.position // chosen.max_length as window_number,
        least(
            chosen.tokens - events.position // chosen.max_length * chosen.max_length,
            chosen.max_length
        ) as window_tokens
    from events
    inner join chosen
        on events.run_key = chosen.run_key and events.sample_id = chosen.sample_id
),

-- the remainder at a window's end is shorter than a segment
segment_choices as (
    select
        chosen_events.run_key,
        chosen_events.layer,
        segment_lengths.segment_length,
        chosen_events.sample_id,
        chosen_events.window_number,
        chosen_events.window_position // segment_lengths.segment_length as segment,
        chosen_events.experts[ranks.rank] as expert
    from chosen_events
    inner join segment_lengths
        on
            chosen_events.window_position // segment_lengths.segment_length
            < chosen_events.window_tokens // segment_lengths.segment_length
    cross join ranks
),

segments as (
    select
        run_key,
        layer,
        segment_length,
        expert,
        count(*) as tokens
    from segment_choices
    where expert is not null
    group by run_key, layer, segment_length, sample_id, window_number, segment, expert
),

final as (
    select
        run_key,
        layer,
        segment_length,
        expert,
        tokens,
        count(*) as segments
    from segments
    group by run_key, layer, segment_length, expert, tokens
)

select * from final
