with coactivation as (
    select * from {{ ref('fct_expert_coactivation') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs_with_events() }}
),

partners as (
    select
        run_id,
        layer,
        expert,
        sum(tokens) as partners
    from coactivation
    group by run_id, layer, expert
),

mirrored as (
    select
        coactivation.run_id,
        coactivation.layer,
        coactivation.expert
    from coactivation
    left join coactivation as mirror
        on
            coactivation.run_id = mirror.run_id
            and coactivation.layer = mirror.layer
            and coactivation.expert = mirror.other_expert
            and coactivation.other_expert = mirror.expert
    where
        (
            coactivation.tokens = mirror.tokens
            and coactivation.adjacent_tokens is not distinct from mirror.adjacent_tokens
        ) is not true
),

-- a token that selects the expert selects k - 1 others with it
summed as (
    select
        expert_load.run_id,
        expert_load.layer,
        expert_load.expert
    from expert_load
    inner join layers
        on expert_load.run_id = layers.run_id and expert_load.layer = layers.layer
    left join partners
        on
            expert_load.run_id = partners.run_id
            and expert_load.layer = partners.layer
            and expert_load.expert = partners.expert
    where coalesce(partners.partners, 0) <> (layers.top_k - 1) * expert_load.selections
),

final as (
    select * from mirrored
    union all
    select * from summed
)

select * from final
