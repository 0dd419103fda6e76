with events as (
    select * from {{ ref('stg_new_token_events') }}
    where layer = {{ this_layer() }}
),

samples as (
    select * from {{ ref('stg_new_samples') }}
    where split <> 'train'
),

ranks as (
    {{ ranks() }}
),

lookup_table as (
    select * from {{ ref('int_fast_path_table') }}
    where layer = {{ this_layer() }} and {{ of_new_runs('run_key') }}
),

held_out_events as (
    select events.*
    from events
    semi join samples
        on events.run_key = samples.run_key and events.sample_id = samples.sample_id
),

looked_up as (
    select
        held_out_events.run_key,
        held_out_events.layer,
        lookup_table.token_id,
        ranks.rank,
        held_out_events.experts[ranks.rank] as expert,
        held_out_events.weights[ranks.rank] as weight,
        held_out_events.top_expert,
        list_contains(lookup_table.expert_set, held_out_events.experts[ranks.rank]) as is_retained,
        ranks.rank = 1 and held_out_events.top_expert = lookup_table.top_expert as is_top_agreed,
        case
            when ranks.rank = 1 then list_sort(held_out_events.experts) = lookup_table.expert_set
        end as is_set_agreed
    from held_out_events
    cross join ranks
    left join lookup_table
        on
            held_out_events.run_key = lookup_table.run_key
            and held_out_events.token_id = lookup_table.token_id
),

final as (
    select
        run_key,
        layer,
        token_id,
        count(*) filter (where rank = 1) as occurrences,
        case when count(top_expert) > 0 then count(*) filter (where is_top_agreed) end
            as top_agreements,
        count(*) filter (where is_set_agreed) as set_agreements,
        sum(cast(weight as double)) as gate_mass,
        case
            when count(weight) > 0
                then coalesce(sum(cast(weight as double)) filter (where is_retained), 0)
        end as retained_gate_mass
    from looked_up
    where expert is not null
    group by run_key, layer, token_id
)

select * from final
