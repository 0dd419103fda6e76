-- Keys stand for lists of token ids, so that the lists of two runs need not meet.
{{ config(materialized='view') }}

with events as (
    select * from {{ ref('int_traced_event') }}
),

first_layers as (
    select * from {{ ref('stg_layers') }}
    where moe_index = 0
),

texts as (
    select
        events.run_key,
        events.sample_id,
        list(events.token_id order by events.position) as token_ids
    from events
    inner join first_layers
        on events.run_id = first_layers.run_id and events.layer = first_layers.layer
    group by events.run_key, events.sample_id
),

final as (
    select
        run_key,
        sample_id,
        cast(len(token_ids) as integer) as tokens,
        md5_number(cast(token_ids as varchar)) as text_key,
        md5_number(cast(token_ids[:-2] as varchar)) as beginning_key
    from texts
)

select * from final
