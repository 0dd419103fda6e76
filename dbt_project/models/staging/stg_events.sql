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

-- Grouped so that DuckDB knows that there is one of each, and leaves them out of queries that do
-- not ask for the phase; from the table, because the files would be opened even then.
continued_samples as (
    select
        run_id,
        sample_id,
        any_value(prompt_tokens) as prompt_tokens
    from {{ ref('dim_sample') }}
    where prompt_tokens < tokens
    group by run_id, sample_id
),

final as (
    select
        events.run_id,
        events.sample_id,
        events.position,
        cast({{ window_position('events', 'finished_runs') }} as uinteger) as window_position,
        {{ phase('events.position >= continued_samples.prompt_tokens') }} as phase,
        events.token_id,
        events.layer,
        events.experts,
        events.weights,
        events.top_expert,
        events.entropy,
        events.confidence
    from events
    inner join finished_runs on events.run_id = finished_runs.run_id
    left join continued_samples
        on
            events.run_id = continued_samples.run_id
            and events.sample_id = continued_samples.sample_id
)

select * from final
