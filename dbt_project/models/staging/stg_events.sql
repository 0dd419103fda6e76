{{ config(alias='events') }}

with events as (
    select * from {{ lake('events') }}
),

finished_runs as (
    select
        run_id,
        max_length
    from {{ ref('stg_runs') }}
),

final as (
    select
        events.run_id,
        events.sample_id,
        events.position,
        cast({{ window_position('events', 'finished_runs') }} as uinteger) as window_position,
        events.token_id,
        events.layer,
        events.experts,
        events.weights,
        events.top_expert,
        events.entropy,
        events.confidence
    from events
    inner join finished_runs on events.run_id = finished_runs.run_id
)

select * from final
