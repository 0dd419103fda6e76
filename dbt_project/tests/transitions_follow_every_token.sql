with transitions as (
    select * from {{ ref('fct_expert_transition') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

paired as (
    select
        run_id,
        layer,
        ranked and lead(ranked) over by_depth as are_ranked,
        lead(layer) over by_depth as next_layer
    from layers
    window by_depth as (partition by run_id, stack order by moe_index)
),

-- without an order there is no first choice to follow
followed as (
    select * from paired
    where are_ranked
),

outgoing as (
    select
        run_id,
        layer,
        next_layer,
        expert,
        sum(tokens) as tokens
    from transitions
    group by run_id, layer, next_layer, expert
),

incoming as (
    select
        run_id,
        layer,
        next_layer,
        next_expert,
        sum(tokens) as tokens
    from transitions
    group by run_id, layer, next_layer, next_expert
),

-- a token that was matched with another one, or with none, is missing from both sums
left_out as (
    select
        followed.run_id,
        followed.layer,
        expert_load.expert
    from followed
    inner join expert_load
        on followed.run_id = expert_load.run_id and followed.layer = expert_load.layer
    left join outgoing
        on
            followed.run_id = outgoing.run_id
            and followed.layer = outgoing.layer
            and followed.next_layer = outgoing.next_layer
            and expert_load.expert = outgoing.expert
    where
        followed.next_layer is not null
        and coalesce(outgoing.tokens, 0) <> expert_load.first_choices
),

not_reached as (
    select
        followed.run_id,
        followed.layer,
        expert_load.expert
    from followed
    inner join expert_load
        on followed.run_id = expert_load.run_id and followed.next_layer = expert_load.layer
    left join incoming
        on
            followed.run_id = incoming.run_id
            and followed.layer = incoming.layer
            and followed.next_layer = incoming.next_layer
            and expert_load.expert = incoming.next_expert
    where coalesce(incoming.tokens, 0) <> expert_load.first_choices
),

unfollowed as (
    select
        transitions.run_id,
        transitions.layer,
        transitions.expert
    from transitions
    anti join followed
        on
            transitions.run_id = followed.run_id
            and transitions.layer = followed.layer
            and transitions.next_layer = followed.next_layer
),

final as (
    select * from left_out
    union all
    select * from not_reached
    union all
    select * from unfollowed
)

select * from final
