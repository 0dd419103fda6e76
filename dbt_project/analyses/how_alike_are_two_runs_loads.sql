with expert_load as (
    select * from {{ ref('fct_expert_load') }}
),

runs as (
    select * from {{ ref('dim_run') }}
),

shares as (
    select
        expert_load.run_id,
        expert_load.layer,
        expert_load.expert,
        expert_load.load_share,
        runs.model,
        runs.started_at,
        count(*) over (partition by expert_load.run_id, expert_load.layer) as num_experts
    from expert_load
    inner join runs on expert_load.run_id = runs.run_id
    where expert_load.load_share is not null
),

paired as (
    select
        shares.run_id,
        other_shares.run_id as other_run_id,
        shares.layer,
        shares.load_share,
        other_shares.load_share as other_load_share
    from shares
    inner join shares as other_shares
        on
            shares.model = other_shares.model
            and shares.layer = other_shares.layer
            and shares.expert = other_shares.expert
            and shares.num_experts = other_shares.num_experts
            and (shares.started_at, shares.run_id)
            < (other_shares.started_at, other_shares.run_id)
),

final as (
    select
        run_id,
        other_run_id,
        layer,
        count(*) as num_experts,
        round(1 - sum(abs(load_share - other_load_share)) / 2, 4) as shared_load,
        round(corr(load_share, other_load_share), 4) as load_correlation,
        count(*) filter (where load_share = 0 and other_load_share = 0) as dead_in_both,
        count(*) filter (where (load_share = 0) <> (other_load_share = 0)) as dead_in_one
    from paired
    group by run_id, other_run_id, layer
)

select * from final
order by run_id, other_run_id, layer
