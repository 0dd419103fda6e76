with events as (
    select * from {{ ref('stg_new_token_events') }}
    where layer = {{ this_layer() }}
),

samples as (
    select * from {{ ref('stg_new_samples') }}
    where split = 'train'
),

layers as (
    select * from {{ ref('stg_new_layers') }}
    where layer = {{ this_layer() }}
),

train_events as (
    select
        events.run_key,
        events.token_id,
        events.top_expert,
        events.entropy,
        events.experts[1] as expert,
        {{ expert_set('events.experts', 'layers') }} as expert_set,
        {{ long_expert_set('events.experts', 'layers') }} as long_expert_set
    from events
    inner join layers on events.run_key = layers.run_key
    semi join samples
        on events.run_key = samples.run_key and events.sample_id = samples.sample_id
),

counted as (
    select
        run_key,
        token_id,
        expert,
        expert_set,
        long_expert_set,
        count(*) as occurrences,
        count(top_expert) as ranked_occurrences,
        sum(cast(entropy as double)) as entropy_sum
    from train_events
    group by run_key, token_id, expert, expert_set, long_expert_set
),

first_choices as (
    select
        run_key,
        token_id,
        expert,
        cast(sum(occurrences) as bigint) as occurrences,
        sum(ranked_occurrences) as ranked_occurrences,
        sum(entropy_sum) as entropy_sum
    from counted
    group by run_key, token_id, expert
),

top_experts as (
    select
        run_key,
        token_id,
        sum(occurrences) as train_frequency,
        sum(entropy_sum) / sum(occurrences) as train_mean_entropy,
        -- the most frequent top expert; ties go to the smallest id
        arg_max(expert, occurrences * 65536 + 65535 - expert) filter (where ranked_occurrences > 0)
            as top_expert
    from first_choices
    group by run_key, token_id
),

expert_sets as (
    select
        run_key,
        token_id,
        expert_set,
        long_expert_set,
        cast(sum(occurrences) as bigint) as occurrences
    from counted
    group by run_key, token_id, expert_set, long_expert_set
),

most_occurrences as (
    select
        run_key,
        token_id,
        max(occurrences) as occurrences
    from expert_sets
    group by run_key, token_id
),

modal_sets as (
    select
        expert_sets.run_key,
        expert_sets.token_id,
        -- among equally frequent sets, the one with the smaller ids
        max(expert_sets.expert_set) as expert_set,
        min(expert_sets.long_expert_set) as long_expert_set,
        any_value(occurrences) as occurrences
    from expert_sets
    inner join most_occurrences using (run_key, token_id, occurrences)
    group by expert_sets.run_key, expert_sets.token_id
),

final as (
    select
        top_experts.run_key,
        cast({{ this_layer() }} as smallint) as layer,
        top_experts.token_id,
        cast(top_experts.train_frequency as bigint) as train_frequency,
        top_experts.train_mean_entropy,
        row_number() over (
            partition by top_experts.run_key
            order by top_experts.train_frequency desc, top_experts.token_id asc
        ) as frequency_rank,
        top_experts.top_expert,
        coalesce(
            modal_sets.long_expert_set, {{ experts_of_set('modal_sets.expert_set', 'layers') }}
        ) as expert_set,
        modal_sets.occurrences / top_experts.train_frequency as set_share
    from top_experts
    inner join modal_sets
        on
            top_experts.run_key = modal_sets.run_key
            and top_experts.token_id = modal_sets.token_id
    inner join layers on top_experts.run_key = layers.run_key
)

select * from final
