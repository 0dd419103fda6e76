-- In the order of the events, so that the layers can be matched with it row by row.
{{ config(materialized='table') }}

with events as (
    select * from {{ ref('stg_new_token_events') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

first_layers as (
    select * from {{ ref('stg_layers') }}
    where {{ of_new_runs() }} and moe_index = 0
),

tokens as (
    select
        events.run_id,
        events.run_key,
        events.sample_id,
        events.position,
        events.position // runs.max_length as window_number,
        events.token_id
    from events
    inner join runs on events.run_id = runs.run_id
    inner join first_layers
        on events.run_id = first_layers.run_id and events.layer = first_layers.layer
),

bigrams as (
    select
        *,
        lag(token_id) over (partition by run_key, sample_id, window_number order by position)
            as previous_token_id
    from tokens
),

frequent as (
    select
        run_key,
        previous_token_id,
        token_id
    from bigrams
    where previous_token_id is not null
    group by run_key, previous_token_id, token_id
    having count(*) >= {{ var('bigram_threshold') }}
),

final as (
    select
        bigrams.run_key,
        bigrams.sample_id,
        bigrams.position,
        bigrams.token_id,
        bigrams.previous_token_id,
        frequent.run_key is not null as is_frequent
    from bigrams
    left join frequent
        on
            bigrams.run_key = frequent.run_key
            and bigrams.previous_token_id = frequent.previous_token_id
            and bigrams.token_id = frequent.token_id
    order by bigrams.run_id, bigrams.sample_id, bigrams.position
)

select * from final
