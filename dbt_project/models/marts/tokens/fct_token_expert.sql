{{ config(materialized='layered', slices='new_layers') }}

with events as (
    select * from {{ ref('stg_whole_run_events') }}
    where layer = {{ this_layer() }}
),

ranks as (
    {{ ranks() }}
),

partial_first_choices as (
    select * from {{ ref('int_token_expert_routing') }}
    where
        {{ of_new_runs('run_key') }}
        and layer = {{ this_layer() }}
        and top_expert is not null
),

partial_selections as (
    select * from {{ ref('int_token_expert_selection') }}
    where {{ of_new_runs('run_key') }} and layer = {{ this_layer() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }} and layer = {{ this_layer() }}
),

choices as (
    select
        events.run_key,
        events.token_id,
        -- the first of the experts, if nothing is wrong: a test compares the two
        case
            when ranks.rank = 1 then coalesce(events.top_expert, events.experts[1])
            else events.experts[ranks.rank]
        end as expert,
        ranks.rank = 1 as is_first_choice
    from events
    cross join ranks
),

partials as (
    select
        run_key,
        token_id,
        top_expert as expert,
        occurrences as first_choices,
        occurrences as selections
    from partial_first_choices
    union all
    select
        run_key,
        token_id,
        expert,
        0 as first_choices,
        selections
    from partial_selections
),

counted as (
    select
        run_key,
        token_id,
        expert,
        count(*) filter (where is_first_choice) as first_choices,
        count(*) as selections
    from choices
    where expert is not null
    group by run_key, token_id, expert
    union all
    select
        run_key,
        token_id,
        expert,
        cast(sum(first_choices) as bigint) as first_choices,
        cast(sum(selections) as bigint) as selections
    from partials
    group by run_key, token_id, expert
),

totalled as (
    select
        run_key,
        token_id,
        cast(sum(selections) as bigint) as selections
    from counted
    group by run_key, token_id
),

placed as (
    select
        runs.run_id,
        counted.* replace (case when layers.ranked then counted.first_choices end as first_choices),
        totalled.selections // layers.top_k as frequency
    from counted
    inner join totalled
        on counted.run_key = totalled.run_key and counted.token_id = totalled.token_id
    inner join runs on counted.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id
),

final as (
    select
        run_id,
        cast({{ this_layer() }} as smallint) as layer,
        token_id,
        cast(expert as integer) as expert,
        frequency,
        first_choices,
        selections,
        first_choices / frequency as first_choice_share,
        selections / frequency as selection_share
    from placed
)

select * from final
