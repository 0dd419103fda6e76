-- Rows are matched by row number, as in int_expert_transition.
with events as (
    select * from {{ ref('stg_new_token_events') }}
    where layer = {{ this_layer() }}
),

layers as (
    select
        {{ run_key('run_id') }} as run_key
    from {{ ref('stg_layers') }}
    where layer = {{ this_layer() }} and {{ of_new_runs() }}
),

bigrams as (
    select * from {{ ref('int_bigram_position') }}
    where run_key in (select layers.run_key from layers)
),

matched as (
    select
        events.run_key,
        events.layer,
        bigrams.previous_token_id,
        bigrams.token_id,
        events.top_expert
    from events
    positional join bigrams
    where
        events.run_key = bigrams.run_key
        and events.sample_id = bigrams.sample_id
        and events.position = bigrams.position
        and bigrams.is_frequent
        and events.top_expert is not null
),

final as (
    select
        run_key,
        layer,
        previous_token_id,
        token_id,
        top_expert,
        count(*) as occurrences
    from matched
    group by run_key, layer, previous_token_id, token_id, top_expert
)

select * from final
