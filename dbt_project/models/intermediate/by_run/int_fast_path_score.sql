-- Held-out events are counted before they are looked up: there are fewer counts than events.
with events as (
    select * from {{ ref('stg_new_token_events') }}
    where layer = {{ this_layer() }}
),

samples as (
    select * from {{ ref('stg_new_samples') }}
    where split <> 'train'
),

layers as (
    select * from {{ ref('stg_new_layers') }}
    where layer = {{ this_layer() }}
),

ranks as (
    {{ ranks() }}
),

lookup_table as (
    select * from {{ ref('int_fast_path_table') }}
    where layer = {{ this_layer() }} and {{ of_new_runs('run_key') }}
),

-- read once: these are few of the events
held_out_events as materialized (
    select events.*
    from events
    semi join samples
        on events.run_key = samples.run_key and events.sample_id = samples.sample_id
),

choices as (
    select
        held_out_events.run_key,
        held_out_events.token_id,
        held_out_events.experts[ranks.rank] as expert,
        held_out_events.weights[ranks.rank] as weight,
        ranks.rank = 1 as is_first,
        ranks.rank = 1 and held_out_events.top_expert is not null as is_first_choice
    from held_out_events
    cross join ranks
),

counted as (
    select
        run_key,
        token_id,
        expert,
        count(*) filter (where is_first) as occurrences,
        count(*) filter (where is_first_choice) as first_choices,
        sum(cast(weight as double)) as gate_mass
    from choices
    group by run_key, token_id, expert
),

looked_up as (
    select
        counted.*,
        lookup_table.token_id as table_token_id,
        counted.expert = lookup_table.top_expert as is_top_agreed,
        list_contains(lookup_table.expert_set, counted.expert) as is_retained
    from counted
    left join lookup_table
        on
            counted.run_key = lookup_table.run_key
            and counted.token_id = lookup_table.token_id
    where counted.expert is not null
),

scored as (
    select
        run_key,
        table_token_id as token_id,
        cast(sum(occurrences) as bigint) as occurrences,
        case
            when sum(first_choices) > 0
                then coalesce(cast(sum(first_choices) filter (where is_top_agreed) as bigint), 0)
        end as top_agreements,
        sum(gate_mass) as gate_mass,
        case
            when count(gate_mass) > 0
                then coalesce(sum(gate_mass) filter (where is_retained), 0)
        end as retained_gate_mass
    from looked_up
    group by run_key, table_token_id
),

chosen_sets as (
    select
        held_out_events.run_key,
        held_out_events.token_id,
        {{ expert_set('held_out_events.experts', 'layers') }} as expert_set,
        {{ long_expert_set('held_out_events.experts', 'layers') }} as long_expert_set
    from held_out_events
    inner join layers on held_out_events.run_key = layers.run_key
),

table_sets as (
    select
        lookup_table.run_key,
        lookup_table.token_id,
        {{ expert_set('lookup_table.expert_set', 'layers') }} as expert_set,
        {{ long_expert_set('lookup_table.expert_set', 'layers') }} as long_expert_set
    from lookup_table
    inner join layers on lookup_table.run_key = layers.run_key
),

agreeing_sets as (
    select
        table_sets.run_key,
        table_sets.token_id,
        count(*) as set_agreements
    from chosen_sets
    inner join table_sets
        on
            chosen_sets.run_key = table_sets.run_key
            and chosen_sets.token_id = table_sets.token_id
            and chosen_sets.expert_set is not distinct from table_sets.expert_set
            and chosen_sets.long_expert_set is not distinct from table_sets.long_expert_set
    group by table_sets.run_key, table_sets.token_id
),

final as (
    select
        scored.run_key,
        cast({{ this_layer() }} as smallint) as layer,
        scored.token_id,
        scored.occurrences,
        scored.top_agreements,
        coalesce(agreeing_sets.set_agreements, 0) as set_agreements,
        scored.gate_mass,
        scored.retained_gate_mass
    from scored
    left join agreeing_sets
        on
            scored.run_key = agreeing_sets.run_key
            and scored.token_id = agreeing_sets.token_id
)

select * from final
