with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

phases as (
    select * from {{ ref('fct_phase_routing') }}
),

loads as (
    select * from {{ ref('fct_phase_expert') }}
),

busiest as (
    select
        run_id,
        layer,
        phase,
        first(expert order by selections desc, expert asc) as busiest_expert,
        max(selections) as busiest_selections
    from loads
    group by run_id, layer, phase
),

final as (
    select
        phases.layer,
        phases.phase,
        phases.events as tokens,
        busiest.busiest_expert,
        round(busiest.busiest_selections / phases.events, 4) as share_of_tokens_there,
        round(phases.mean_entropy, 4) as mean_entropy,
        round(phases.max_load_ratio, 4) as max_load_ratio,
        round(phases.any_choice_repetition, 4) as repeats_an_expert
    from phases
    inner join latest_run on phases.run_id = latest_run.run_id
    inner join busiest
        on
            phases.run_id = busiest.run_id
            and phases.layer = busiest.layer
            and phases.phase = busiest.phase
)

select * from final
order by layer asc, phase desc
