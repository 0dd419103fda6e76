with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

samples as (
    select * from {{ ref('stg_samples') }}
),

events as (
    select * from {{ ref('stg_events') }}
),

chats as (
    select
        samples.run_id,
        samples.sample_id,
        samples.turns,
        generate_subscripts(samples.turns, 1) as turn
    from samples
    inner join latest_run on samples.run_id = latest_run.run_id
),

spans as (
    select
        run_id,
        sample_id,
        turns[turn].role as turn_role,
        turns[turn].first_position as first_position,
        turns[turn + 1].first_position as next_position
    from chats
),

spoken as (
    select
        events.layer,
        spans.turn_role,
        events.experts,
        events.entropy
    from events
    inner join spans
        on
            events.run_id = spans.run_id
            and events.sample_id = spans.sample_id
            and events.position >= spans.first_position
            and (events.position < spans.next_position or spans.next_position is null)
),

roles as (
    select
        layer,
        turn_role,
        count(*) as tokens,
        avg(entropy) as mean_entropy
    from spoken
    group by layer, turn_role
),

selections as (
    select
        layer,
        turn_role,
        unnest(experts) as expert
    from spoken
),

loads as (
    select
        layer,
        turn_role,
        expert,
        count(*) as load
    from selections
    group by layer, turn_role, expert
),

busiest as (
    select
        layer,
        turn_role,
        first(expert order by load desc, expert asc) as busiest_expert,
        max(load) as busiest_load
    from loads
    group by layer, turn_role
),

final as (
    select
        roles.layer,
        roles.turn_role,
        roles.tokens,
        busiest.busiest_expert,
        round(busiest.busiest_load / roles.tokens, 4) as share_of_tokens_there,
        round(roles.mean_entropy, 4) as mean_entropy
    from roles
    inner join busiest
        on roles.layer = busiest.layer and roles.turn_role = busiest.turn_role
)

select * from final
order by layer, turn_role
