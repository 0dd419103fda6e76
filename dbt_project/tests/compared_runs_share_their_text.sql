with comparison as (
    select * from {{ ref('fct_run_comparison') }}
),

pairs as (
    select * from {{ ref('int_run_pair') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

shared as (
    select
        run_id,
        other_run_id,
        sum(tokens) as shared_tokens
    from pairs
    group by run_id, other_run_id
),

expected as (
    select
        shared.run_id,
        shared.other_run_id,
        layers.layer,
        shared.shared_tokens,
        layers.ranked and other_layers.ranked as are_ranked,
        layers.has_distribution and other_layers.has_distribution as have_distributions
    from shared
    inner join layers on shared.run_id = layers.run_id
    inner join layers as other_layers
        on
            shared.other_run_id = other_layers.run_id
            and layers.layer = other_layers.layer
            and layers.moe_index = other_layers.moe_index
            and layers.num_experts = other_layers.num_experts
            and layers.top_k = other_layers.top_k
),

final as (
    select
        expected.run_id,
        expected.other_run_id,
        expected.layer,
        expected.shared_tokens,
        comparison.tokens
    from expected
    left join comparison
        on
            expected.run_id = comparison.run_id
            and expected.other_run_id = comparison.other_run_id
            and expected.layer = comparison.layer
    where
        (
            comparison.tokens = expected.shared_tokens
            and (comparison.top_agreement is not null) = expected.are_ranked
            and (comparison.mean_entropy_change is not null) = expected.have_distributions
            and (comparison.mean_absolute_entropy_change is not null) = expected.have_distributions
        ) is not true
)

select * from final
