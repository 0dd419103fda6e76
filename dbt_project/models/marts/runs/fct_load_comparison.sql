{{ config(pre_hook="{{ forget_rebuilt_runs('other_run_id') }}") }}

with expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where load_share is not null
),

compared_layers as (
    select * from {{ ref('int_compared_layer') }}
),

runs as (
    select * from {{ ref('stg_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

counted_pairs as (
    select
        runs.run_id,
        other_runs.run_id as other_run_id
    from runs
    inner join runs as other_runs
        on
            runs.model = other_runs.model
            and (runs.started_at, runs.run_id) < (other_runs.started_at, other_runs.run_id)
            and (runs.is_new or other_runs.is_new)
    where runs.source = 'counts' or other_runs.source = 'counts'
),

counted_layers as (
    select
        counted_pairs.run_id,
        counted_pairs.other_run_id,
        layers.layer
    from counted_pairs
    inner join layers on counted_pairs.run_id = layers.run_id
    inner join layers as other_layers
        on
            counted_pairs.other_run_id = other_layers.run_id
            and layers.layer = other_layers.layer
            and layers.moe_index = other_layers.moe_index
            and layers.num_experts = other_layers.num_experts
),

pairs as (
    select
        run_id,
        other_run_id,
        layer
    from compared_layers
    union all
    select * from counted_layers
),

loads as (
    select
        pairs.run_id,
        pairs.other_run_id,
        pairs.layer,
        expert_load.moe_index,
        expert_load.load_share,
        other_load.load_share as other_load_share
    from pairs
    inner join expert_load on pairs.run_id = expert_load.run_id and pairs.layer = expert_load.layer
    inner join expert_load as other_load
        on
            pairs.other_run_id = other_load.run_id
            and pairs.layer = other_load.layer
            and expert_load.expert = other_load.expert
),

final as (
    select
        run_id,
        other_run_id,
        layer,
        moe_index,
        cast(count(*) as integer) as num_experts,
        1 - sum(abs(load_share - other_load_share)) / 2 as shared_load,
        case
            when var_pop(load_share) > 0 and var_pop(other_load_share) > 0
                then corr(load_share, other_load_share)
        end as load_correlation,
        count(*) filter (where load_share = 0 and other_load_share = 0) as dead_in_both,
        count(*) filter (where (load_share = 0) <> (other_load_share = 0)) as dead_in_one
    from loads
    group by run_id, other_run_id, layer, moe_index
)

select * from final
