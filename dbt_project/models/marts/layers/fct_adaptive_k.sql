with kept_choices as (
    select * from {{ ref('int_kept_choice') }}
    where {{ of_new_runs('run_key') }}
),

layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
    where {{ of_new_runs() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

rules as (
    select
        'weight' as rule,
        unnest(cast({{ var('adaptive_weights') }} as double[])) as threshold
    union all
    select
        'entropy' as rule,
        unnest(cast({{ var('adaptive_entropies') }} as double[])) as threshold
),

numbered_rules as (
    select
        *,
        row_number() over (partition by rule order by threshold) as threshold_number
    from rules
),

judged as (
    select
        kept_choices.run_key,
        kept_choices.layer,
        numbered_rules.rule,
        numbered_rules.threshold,
        kept_choices.choices,
        kept_choices.gate_mass,
        kept_choices.is_first
        or numbered_rules.threshold_number <= case
            when numbered_rules.rule = 'weight' then kept_choices.weights_reached
            else kept_choices.entropies_reached
        end as is_kept
    from kept_choices
    cross join numbered_rules
),

merged as (
    select
        run_key,
        layer,
        rule,
        threshold,
        sum(choices) as choices,
        coalesce(sum(choices) filter (where is_kept), 0) as choices_kept,
        sum(gate_mass) as gate_mass,
        sum(gate_mass) filter (where is_kept) as gate_mass_kept
    from judged
    group by run_key, layer, rule, threshold
),

final as (
    select
        runs.run_id,
        merged.layer,
        merged.rule,
        merged.threshold,
        layers.moe_index,
        case
            when merged.rule = 'entropy' then merged.threshold * ln(layers.num_experts)
        end as entropy_threshold,
        merged.choices_kept / layer_routing.events as mean_experts,
        merged.choices_kept / merged.choices as experts_share,
        merged.gate_mass_kept / nullif(merged.gate_mass, 0) as retained_gate_mass
    from merged
    inner join runs on merged.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and merged.layer = layers.layer
    left join layer_routing
        on runs.run_id = layer_routing.run_id and merged.layer = layer_routing.layer
    where
        case
            when merged.rule = 'weight' then layers.has_weights
            else layers.has_distribution and layers.ranked
        end
)

select * from final
