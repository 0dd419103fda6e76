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

phases as (
    select distinct
        run_key,
        is_generated
    from choices
),

grid as (
    select
        runs.run_key,
        phases.is_generated,
        layers.*,
        cast(unnest(range(layers.num_experts)) as integer) as expert
    from layers
    inner join runs on layers.run_id = runs.run_id
    inner join phases on runs.run_key = phases.run_key
),

merged as (
    select
        run_key,
        layer,
        is_generated,
        expert,
        cast(sum(selections) as bigint) as selections,
        cast(sum(dropped) as bigint) as dropped,
        cast(coalesce(sum(selections) filter (where rank = 1), 0) as bigint) as first_choices,
        sum(gate_mass) as gate_mass
    from choices
    group by run_key, layer, is_generated, expert
),

told as (
    select
        grid.run_id,
        grid.layer,
        {{ phase('grid.is_generated') }} as phase,
        grid.expert,
        grid.moe_index,
        grid.top_k,
        coalesce(merged.selections, 0) as selections,
        case when grid.has_weights then coalesce(merged.dropped, 0) end as dropped,
        case when grid.ranked then coalesce(merged.first_choices, 0) end as first_choices,
        case when grid.has_weights then coalesce(merged.gate_mass, 0) end as gate_mass
    from grid
    left join merged
        on
            grid.run_key = merged.run_key
            and grid.layer = merged.layer
            and grid.is_generated = merged.is_generated
            and grid.expert = merged.expert
),

loaded as (
    select
        *,
        selections - coalesce(dropped, 0) as load,
        cast(sum(selections) over phase_experts as bigint) // top_k as phase_tokens
    from told
    window phase_experts as (partition by run_id, layer, phase)
),

final as (
    select
        run_id,
        layer,
        phase,
        expert,
        moe_index,
        phase_tokens,
        selections,
        dropped,
        load,
        load / nullif(sum(load) over phase_experts, 0) as load_share,
        load / nullif(avg(load) over phase_experts, 0) as load_ratio,
        first_choices,
        first_choices / nullif(phase_tokens, 0) as first_choice_share,
        gate_mass,
        gate_mass / nullif(sum(gate_mass) over phase_experts, 0) as gate_mass_share,
        load = 0 as is_dead
    from loaded
    window phase_experts as (partition by run_id, layer, phase)
)

select * from final
