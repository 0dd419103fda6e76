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

totalled as (
    select
        *,
        -- every token has one first choice
        cast(sum(first_choices) over (partition by run_key, layer, domain) as bigint)
            as domain_tokens
    from merged
),

final as (
    select
        runs.run_id,
        totalled.layer,
        totalled.domain,
        cast(totalled.expert as integer) as expert,
        layers.moe_index,
        totalled.domain_tokens,
        totalled.selections,
        totalled.first_choices,
        totalled.gate_mass,
        totalled.selections / totalled.domain_tokens as specialisation,
        layers.top_k / layers.num_experts as uniform_specialisation,
        totalled.first_choices / totalled.domain_tokens as first_choice_specialisation,
        totalled.gate_mass / totalled.domain_tokens as gate_relevance,
        totalled.selections / (layers.top_k * totalled.domain_tokens) as selection_relevance
    from totalled
    inner join runs on totalled.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and totalled.layer = layers.layer
)

select * from final
