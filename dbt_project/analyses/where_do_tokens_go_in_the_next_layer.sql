with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

transition as (
    select * from {{ ref('fct_expert_transition') }}
),

ranked as (
    select
        transition.*,
        row_number() over (
            partition by transition.layer
            order by transition.lift desc, transition.expert asc, transition.next_expert asc
        ) as place
    from transition
    inner join latest_run on transition.run_id = latest_run.run_id
),

final as (
    select
        layer,
        next_layer,
        expert,
        next_expert,
        tokens,
        round(probability, 4) as probability,
        round(lift, 3) as lift
    from ranked
    where place <= 3
)

select * from final
order by layer asc, lift desc
