{{ config(materialized='layered', slices='new_layers') }}

with partials as (
    select * from {{ ref('int_token_expert_routing') }}
    where {{ of_new_runs('run_key') }} and layer = {{ this_layer() }}
),

selections as (
    select * from {{ ref('int_token_expert_selection') }}
    where {{ of_new_runs('run_key') }} and layer = {{ this_layer() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

choices as (
    select
        run_key,
        layer,
        token_id,
        top_expert as expert,
        occurrences as first_choices,
        occurrences as selections
    from partials
    union all
    select
        run_key,
        layer,
        token_id,
        expert,
        0 as first_choices,
        selections
    from selections
),

merged as (
    select
        run_key,
        layer,
        token_id,
        expert,
        sum(first_choices) as first_choices,
        sum(selections) as selections
    from choices
    group by run_key, layer, token_id, expert
),

frequencies as (
    select
        run_key,
        token_id,
        sum(occurrences) as frequency
    from partials
    group by run_key, token_id
),

final as (
    select
        runs.run_id,
        merged.layer,
        merged.token_id,
        cast(merged.expert as integer) as expert,
        cast(frequencies.frequency as bigint) as frequency,
        cast(merged.first_choices as bigint) as first_choices,
        cast(merged.selections as bigint) as selections,
        merged.first_choices / frequencies.frequency as first_choice_share,
        merged.selections / frequencies.frequency as selection_share
    from merged
    inner join frequencies
        on merged.run_key = frequencies.run_key and merged.token_id = frequencies.token_id
    inner join runs on merged.run_key = runs.run_key
)

select * from final
