-- One pass over the even blocks counts both halves: the odd half is the rest of fct_token_expert.
{{ config(materialized='layered', slices='new_layers') }}

with events as (
    select * from {{ ref('stg_new_token_events') }}
    where layer = {{ this_layer() }}
),

even_samples as (
    select * from {{ ref('int_sample_block') }}
    where block % 2 = 0
),

ranks as (
    {{ ranks() }}
),

token_expert as (
    select * from {{ ref('fct_token_expert') }}
    where {{ of_new_runs() }} and layer = {{ this_layer() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }} and layer = {{ this_layer() }}
),

even_choices as (
    select
        events.run_key,
        events.token_id,
        case
            when ranks.rank = 1 then coalesce(events.top_expert, events.experts[1])
            else events.experts[ranks.rank]
        end as expert,
        ranks.rank = 1 as is_first_choice
    from events
    semi join even_samples
        on events.run_key = even_samples.run_key and events.sample_id = even_samples.sample_id
    cross join ranks
),

even_half as (
    select
        run_key,
        token_id,
        expert,
        count(*) filter (where is_first_choice) as first_choices,
        count(*) as selections
    from even_choices
    where expert is not null
    group by run_key, token_id, expert
),

halves as (
    select
        token_expert.*,
        coalesce(even_half.first_choices, 0) as even_first_choices,
        coalesce(even_half.selections, 0) as even_selections,
        token_expert.first_choices - coalesce(even_half.first_choices, 0) as odd_first_choices,
        token_expert.selections - coalesce(even_half.selections, 0) as odd_selections
    from token_expert
    inner join runs on token_expert.run_id = runs.run_id
    left join even_half
        on
            runs.run_key = even_half.run_key
            and token_expert.token_id = even_half.token_id
            and token_expert.expert = even_half.expert
),

-- each half is scored by the modal expert of the other
scored as (
    select
        run_id,
        token_id,
        any_value(frequency) as frequency,
        sum(even_selections) > 0 and sum(odd_selections) > 0 as is_in_both_halves,
        case
            when count(first_choices) > 0
                then
                    {{ at_the_modal_expert('odd_first_choices', 'even_first_choices') }}
                    + {{ at_the_modal_expert('even_first_choices', 'odd_first_choices') }}
        end as held_out_top_agreements,
        {{ at_the_modal_expert('odd_selections', 'even_selections') }}
        + {{ at_the_modal_expert('even_selections', 'odd_selections') }}
            as held_out_selection_agreements,
        max(first_choice_share) as routing_consistency,
        max(selection_share) as vocabulary_specialisation
    from halves
    group by run_id, token_id
),

held_out as (
    select
        *,
        case when is_in_both_halves then frequency else 0 end as held_out_occurrences
    from scored
),

final as (
    select
        held_out.run_id,
        cast({{ this_layer() }} as smallint) as layer,
        held_out.token_id,
        layers.moe_index,
        held_out.frequency,
        cast(held_out.held_out_occurrences as bigint) as held_out_occurrences,
        held_out.held_out_top_agreements,
        held_out.held_out_selection_agreements,
        held_out.routing_consistency,
        held_out.held_out_top_agreements / nullif(held_out.held_out_occurrences, 0)
            as held_out_consistency,
        held_out.vocabulary_specialisation,
        held_out.held_out_selection_agreements / nullif(held_out.held_out_occurrences, 0)
            as held_out_specialisation
    from held_out
    left join layers on held_out.run_id = layers.run_id
)

select * from final
