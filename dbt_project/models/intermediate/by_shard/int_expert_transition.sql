-- Layers hold the same tokens in the same order, so rows are matched by row number, ten times
-- faster than a join. A pair of different tokens is left out, and a test counts the pairs.
{{ config(materialized='layered', slices='new_layer_pairs') }}

-- read once for both, DuckDB 2.0.1 with one thread brings the last rows of one side late
with events as not materialized (
    select * from {{ ref('stg_new_events') }}
),

here as (
    select * from events
    where layer = {{ this_layer() }} and {{ in_these_runs() }}
),

there as (
    select * from events
    where layer = {{ next_layer() }} and {{ in_these_runs() }}
),

pairs as (
    select
        here.run_key,
        here.layer,
        there.layer as next_layer,
        here.top_expert as expert,
        there.top_expert as next_expert
    from here
    positional join there
    where
        here.sample_id = there.sample_id
        and here.position = there.position
        and here.top_expert is not null
        and there.top_expert is not null
),

final as (
    select
        run_key,
        layer,
        next_layer,
        expert,
        next_expert,
        count(*) as tokens
    from pairs
    group by run_key, layer, next_layer, expert, next_expert
)

select * from final
