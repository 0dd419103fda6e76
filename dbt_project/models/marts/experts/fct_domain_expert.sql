with choices as (
    select * from {{ ref('int_domain_expert_choice') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

merged as (
    select
        run_key,
        layer,
        domain,
        expert,
        cast(sum(selections) as bigint) as selections,
        cast(coalesce(sum(selections) filter (where rank = 1), 0) as bigint) as first_choices,
        sum(gate_mass) as gate_mass
    from choices
    group by run_key, layer, domain, expert
),

placed as (
    select
        merged.* exclude (merged.run_key, merged.first_choices),
        runs.run_id,
        layers.moe_index,
        layers.num_experts,
        layers.top_k,
        case when layers.ranked then merged.first_choices end as first_choices
    from merged
    inner join runs on merged.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and merged.layer = layers.layer
),

totalled as (
    select
        *,
        cast(sum(selections) over (partition by run_id, layer, domain) as bigint) // top_k
            as domain_tokens,
        selections / sum(selections) over (partition by run_id, layer, domain) as selection_share,
        gate_mass / nullif(sum(gate_mass) over (partition by run_id, layer, domain), 0)
            as gate_mass_share
    from placed
),

final as (
    select
        run_id,
        layer,
        domain,
        cast(expert as integer) as expert,
        moe_index,
        domain_tokens,
        selections,
        first_choices,
        gate_mass,
        selections / domain_tokens as specialisation,
        top_k / num_experts as uniform_specialisation,
        first_choices / domain_tokens as first_choice_specialisation,
        gate_mass / domain_tokens as gate_relevance,
        selections / (top_k * domain_tokens) as selection_relevance,
        {{ share_before('selection_share', 'run_id, layer, domain') }} as selection_share_before,
        {{ share_before('gate_mass_share', 'run_id, layer, domain') }} as gate_mass_share_before
    from totalled
)

select * from final
