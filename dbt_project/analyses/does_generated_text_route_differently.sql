with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

events as (
    select * from {{ ref('stg_events') }}
),

routed as (
    select
        events.layer,
        events.phase,
        events.experts,
        events.entropy
    from events
    inner join latest_run on events.run_id = latest_run.run_id
),

phases as (
    select
        layer,
        phase,
        count(*) as tokens,
        avg(entropy) as mean_entropy
    from routed
    group by layer, phase
),

selections as (
    select
        layer,
        phase,
        unnest(experts) as expert
    from routed
),

loads as (
    select
        layer,
        phase,
        expert,
        count(*) as load
    from selections
    group by layer, phase, expert
),

busiest as (
    select
        layer,
        phase,
        first(expert order by load desc, expert asc) as busiest_expert,
        max(load) as busiest_load
    from loads
    group by layer, phase
),

final as (
    select
        phases.layer,
        phases.phase,
        phases.tokens,
        busiest.busiest_expert,
        round(busiest.busiest_load / phases.tokens, 4) as share_of_tokens_there,
        round(phases.mean_entropy, 4) as mean_entropy
    from phases
    inner join busiest
        on phases.layer = busiest.layer and phases.phase = busiest.phase
)

select * from final
order by layer asc, phase desc
