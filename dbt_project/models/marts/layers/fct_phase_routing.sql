with layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
    where {{ of_new_runs() }}
),

moments as (
    select * from {{ ref('int_phase_moment') }}
),

repetition as (
    select * from {{ ref('int_expert_repetition') }}
    where {{ of_new_runs('run_key') }}
),

phase_expert as (
    select * from {{ ref('fct_phase_expert') }}
    where {{ of_new_runs() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

-- of a run that only has prompts, the layer's moments are the phase's
counted as (
    select
        runs.run_id,
        moments.layer,
        {{ phase('moments.is_generated') }} as phase,
        moments.mean_entropy,
        {{ sample_deviation('moments.entropy_m2', 'moments.events') }} as std_entropy,
        moments.min_entropy,
        moments.max_entropy,
        moments.mean_confidence,
        {{ sample_deviation('moments.confidence_m2', 'moments.events') }} as std_confidence
    from moments
    inner join runs on moments.run_key = runs.run_key
    union all by name
    select
        layer_routing.run_id,
        layer_routing.layer,
        'prompt' as phase,
        layer_routing.mean_entropy,
        layer_routing.std_entropy,
        layer_routing.min_entropy,
        layer_routing.max_entropy,
        layer_routing.mean_confidence,
        layer_routing.std_confidence
    from layer_routing
    inner join runs on layer_routing.run_id = runs.run_id
    anti join moments on runs.run_key = moments.run_key
),

repeated as (
    select
        runs.run_id,
        repetition.layer,
        {{ phase('repetition.is_generated') }} as phase,
        cast(sum(repetition.pairs) as bigint) as pairs,
        sum(repetition.first_choice_repeats) as first_choice_repeats,
        sum(repetition.any_choice_repeats) as any_choice_repeats
    from repetition
    inner join runs on repetition.run_key = runs.run_key
    group by runs.run_id, repetition.layer, repetition.is_generated
),

balance as (
    select
        run_id,
        layer,
        phase,
        any_value(phase_tokens) as events,
        {{ balance_of_experts() }},
        sum(dropped) / nullif(sum(selections), 0) as dropped_share
    from phase_expert
    group by run_id, layer, phase
),

final as (
    select
        balance.run_id,
        balance.layer,
        balance.phase,
        layers.moe_index,
        layers.num_experts,
        balance.events,
        counted.mean_entropy,
        counted.std_entropy,
        counted.min_entropy,
        counted.max_entropy,
        counted.mean_entropy / nullif(ln(layers.num_experts), 0) as normalised_entropy,
        counted.mean_confidence,
        counted.std_confidence,
        balance.max_load_ratio,
        balance.load_variation,
        balance.jain_index,
        balance.dead_experts,
        balance.dropped_share,
        coalesce(repeated.pairs, 0) as pairs,
        case when layers.ranked then repeated.first_choice_repeats / repeated.pairs end
            as first_choice_repetition,
        repeated.any_choice_repeats / repeated.pairs as any_choice_repetition
    from balance
    left join layers on balance.run_id = layers.run_id and balance.layer = layers.layer
    left join counted
        on
            balance.run_id = counted.run_id
            and balance.layer = counted.layer
            and balance.phase = counted.phase
    left join repeated
        on
            balance.run_id = repeated.run_id
            and balance.layer = repeated.layer
            and balance.phase = repeated.phase
)

select * from final
