with choices as (
    select * from {{ ref('int_domain_expert_choice') }}
    where {{ of_new_runs('run_key') }}
),

counts as (
    select * from {{ ref('stg_counts') }}
    where {{ of_new_runs() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

grid as (
    select
        runs.run_key,
        layers.*,
        cast(unnest(range(layers.num_experts)) as integer) as expert
    from layers
    inner join runs on layers.run_id = runs.run_id
),

ranked_grid as (
    select
        *,
        unnest(range(1, top_k + 1)) as rank
    from grid
),

-- of counts, nobody knows the rank: the load is that of all ranks together
told_choices as (
    select
        run_key,
        layer,
        expert,
        rank,
        selections,
        dropped,
        gate_mass
    from choices
    union all by name
    select
        runs.run_key,
        counts.layer,
        counts.expert,
        1 as rank,
        counts.selections
    from counts
    inner join runs on counts.run_id = runs.run_id
),

merged as (
    select
        run_key,
        layer,
        expert,
        rank,
        sum(selections) as selections,
        sum(dropped) as dropped,
        sum(gate_mass) as gate_mass
    from told_choices
    group by run_key, layer, expert, rank
),

counted as (
    select
        ranked_grid.run_id,
        ranked_grid.layer,
        ranked_grid.expert,
        ranked_grid.moe_index,
        cast(coalesce(sum(merged.selections), 0) as bigint) as selections,
        cast(coalesce(sum(merged.dropped), 0) as bigint) as dropped,
        list(cast(coalesce(merged.selections, 0) as bigint) order by ranked_grid.rank)
            as selections_by_rank,
        coalesce(sum(merged.gate_mass), 0) as gate_mass,
        any_value(ranked_grid.has_weights) as has_weights,
        any_value(ranked_grid.ranked) as ranked
    from ranked_grid
    left join merged
        on
            ranked_grid.run_key = merged.run_key
            and ranked_grid.layer = merged.layer
            and ranked_grid.expert = merged.expert
            and ranked_grid.rank = merged.rank
    group by ranked_grid.run_id, ranked_grid.layer, ranked_grid.expert, ranked_grid.moe_index
),

told as (
    select
        * replace (
            case when has_weights then dropped end as dropped,
            case when has_weights then gate_mass end as gate_mass,
            case when ranked then selections_by_rank end as selections_by_rank
        ),
        -- where no weights are told, every selection counts as computed
        case when has_weights then selections - dropped else selections end as load
    from counted
),

shared as (
    select
        *,
        selections / nullif(sum(selections) over layer_experts, 0) as selection_share,
        gate_mass / nullif(sum(gate_mass) over layer_experts, 0) as gate_mass_share
    from told
    window layer_experts as (partition by run_id, layer)
),

final as (
    select
        run_id,
        layer,
        expert,
        moe_index,
        selections,
        dropped,
        load,
        load / nullif(sum(load) over layer_experts, 0) as load_share,
        load / nullif(avg(load) over layer_experts, 0) as load_ratio,
        selections_by_rank[1] as first_choices,
        selections_by_rank[1] / sum(selections_by_rank[1]) over layer_experts
            as first_choice_share,
        selections_by_rank,
        gate_mass,
        gate_mass_share,
        {{ share_before('selection_share', 'run_id, layer') }} as selection_share_before,
        {{ share_before('gate_mass_share', 'run_id, layer') }} as gate_mass_share_before,
        load = 0 as is_dead
    from shared
    window layer_experts as (partition by run_id, layer)
)

select * from final
