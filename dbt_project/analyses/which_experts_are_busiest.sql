with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
),

ranked as (
    select
        expert_load.*,
        row_number() over (
            partition by expert_load.layer order by expert_load.load desc, expert_load.expert asc
        ) as place
    from expert_load
    inner join latest_run on expert_load.run_id = latest_run.run_id
),

final as (
    select
        layer,
        expert,
        load,
        round(load_share, 4) as load_share,
        round(load_ratio, 3) as load_ratio,
        round(first_choice_share, 4) as first_choice_share,
        round(gate_mass_share, 4) as gate_mass_share
    from ranked
    where place <= 3
)

select * from final
order by layer asc, load desc
