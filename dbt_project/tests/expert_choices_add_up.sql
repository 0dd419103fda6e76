with layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

runs as (
    select * from {{ ref('dim_run') }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

token_expert as (
    select * from {{ ref('fct_token_expert') }}
    where {{ of_new_runs() }}
),

domain_expert as (
    select * from {{ ref('fct_domain_expert') }}
    where {{ of_new_runs() }}
),

position_routing as (
    select * from {{ ref('fct_position_routing') }}
    where {{ of_new_runs() }}
),

loads as (
    select
        run_id,
        layer,
        expert,
        selections,
        first_choices,
        sum(selections) over layer_experts as layer_selections,
        sum(first_choices) over layer_experts as layer_first_choices,
        sum(load_share) over layer_experts as load_shares,
        sum(gate_mass_share) over layer_experts as gate_mass_shares
    from expert_load
    window layer_experts as (partition by run_id, layer)
),

counts as (
    select
        'token' as counted_by,
        run_id,
        layer,
        expert,
        selections,
        first_choices
    from token_expert
    union all
    select
        'domain' as counted_by,
        run_id,
        layer,
        expert,
        selections,
        first_choices
    from domain_expert
    union all
    select
        'position' as counted_by,
        run_id,
        layer,
        expert,
        selections,
        first_choices
    from position_routing
),

summed as (
    select
        run_id,
        layer,
        expert,
        sum(selections) filter (where counted_by = 'token') as token_selections,
        sum(first_choices) filter (where counted_by = 'token') as token_first_choices,
        sum(selections) filter (where counted_by = 'domain') as domain_selections,
        sum(first_choices) filter (where counted_by = 'domain') as domain_first_choices,
        sum(selections) filter (where counted_by = 'position') as position_selections,
        sum(first_choices) filter (where counted_by = 'position') as position_first_choices
    from counts
    group by run_id, layer, expert
),

expected as (
    select
        layers.run_id,
        layers.layer,
        cast(unnest(range(layers.num_experts)) as integer) as expert,
        layers.top_k,
        layers.ranked,
        layers.has_weights,
        runs.has_token_ids,
        runs.tokens
    from layers
    inner join runs on layers.run_id = runs.run_id
),

final as (
    select
        expected.run_id,
        expected.layer,
        expected.expert,
        loads.selections,
        loads.first_choices
    from expected
    left join loads
        on
            expected.run_id = loads.run_id
            and expected.layer = loads.layer
            and expected.expert = loads.expert
    left join summed
        on
            expected.run_id = summed.run_id
            and expected.layer = summed.layer
            and expected.expert = summed.expert
    where
        (
            loads.layer_selections = expected.tokens * expected.top_k
            and abs(coalesce(loads.load_shares, 1) - 1) < 1e-9
            and abs(coalesce(loads.gate_mass_shares, 1) - 1) < 1e-9
            and (expected.has_weights or loads.gate_mass_shares is null)
            and loads.selections = coalesce(summed.domain_selections, 0)
            and loads.selections = coalesce(summed.position_selections, 0)
            and coalesce(summed.token_selections, 0)
            = case when expected.has_token_ids then loads.selections else 0 end
        ) is not true
        or (
            expected.ranked
            and (
                loads.layer_first_choices = expected.tokens
                and loads.first_choices = coalesce(summed.domain_first_choices, 0)
                and loads.first_choices = coalesce(summed.position_first_choices, 0)
                and coalesce(summed.token_first_choices, 0)
                = case when expected.has_token_ids then loads.first_choices else 0 end
            ) is not true
        )
)

select * from final
