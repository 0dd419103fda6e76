with layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

phase_routing as (
    select * from {{ ref('fct_phase_routing') }}
    where {{ of_new_runs() }}
),

phase_expert as (
    select * from {{ ref('fct_phase_expert') }}
    where {{ of_new_runs() }}
),

layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
    where {{ of_new_runs() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

repetition as (
    select * from {{ ref('fct_expert_repetition') }}
    where {{ of_new_runs() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

written as (
    select
        run_id,
        sum(tokens - prompt_tokens) as generated_tokens
    from samples
    group by run_id
),

summed as (
    select
        run_id,
        layer,
        sum(events) as events,
        sum(events) filter (where phase = 'generated') as generated_events,
        sum(events * mean_entropy) / sum(events) as mean_entropy,
        max(max_entropy) as max_entropy,
        sum(pairs) as pairs,
        sum(pairs * any_choice_repetition) as any_choice_repeats
    from phase_routing
    group by run_id, layer
),

summed_experts as (
    select
        run_id,
        layer,
        expert,
        sum(selections) as selections,
        sum(load) as load,
        sum(first_choices) as first_choices
    from phase_expert
    group by run_id, layer, expert
),

wrong_experts as (
    select
        expert_load.run_id,
        expert_load.layer,
        count(*) as experts
    from expert_load
    left join summed_experts
        on
            expert_load.run_id = summed_experts.run_id
            and expert_load.layer = summed_experts.layer
            and expert_load.expert = summed_experts.expert
    where
        (
            summed_experts.selections = expert_load.selections
            and summed_experts.load = expert_load.load
            and summed_experts.first_choices is not distinct from expert_load.first_choices
        ) is not true
    group by expert_load.run_id, expert_load.layer
),

final as (
    select
        layers.run_id,
        layers.layer,
        summed.events,
        wrong_experts.experts
    from layers
    left join summed on layers.run_id = summed.run_id and layers.layer = summed.layer
    left join layer_routing
        on layers.run_id = layer_routing.run_id and layers.layer = layer_routing.layer
    left join repetition
        on layers.run_id = repetition.run_id and layers.layer = repetition.layer
    left join written on layers.run_id = written.run_id
    left join wrong_experts
        on layers.run_id = wrong_experts.run_id and layers.layer = wrong_experts.layer
    where
        wrong_experts.experts is not null
        or (
            summed.events = layer_routing.events
            and coalesce(summed.generated_events, 0) = written.generated_tokens
            and coalesce(abs(summed.mean_entropy - layer_routing.mean_entropy) < 1e-6, true)
            and (summed.mean_entropy is null) = (layer_routing.mean_entropy is null)
            and summed.max_entropy is not distinct from layer_routing.max_entropy
            and summed.pairs = coalesce(repetition.pairs, 0)
            and coalesce(
                abs(
                    summed.any_choice_repeats
                    - repetition.pairs * repetition.any_choice_repetition
                ) < 0.5,
                summed.pairs = 0
            )
        ) is not true
)

select * from final
