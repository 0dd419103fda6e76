with token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

bounded as (
    select
        token_routing.*,
        layers.num_experts,
        layers.has_distribution,
        {{ var('rounding_tolerance') }} as tolerance
    from token_routing
    left join layers
        on token_routing.run_id = layers.run_id and token_routing.layer = layers.layer
),

final as (
    select * from bounded
    where
        (
            frequency >= 1
            and coalesce(routing_consistency, 1) between 1 / num_experts - tolerance and 1
            and coalesce(top_expert, 0) between 0 and num_experts - 1
        ) is not true
        or (
            has_distribution
            and (
                min_entropy >= -tolerance
                and max_entropy <= ln(num_experts) + tolerance
                and mean_entropy between min_entropy - tolerance and max_entropy + tolerance
                and mean_confidence between 1 / num_experts - tolerance and 1 + tolerance
                and (std_entropy is null) = (frequency = 1)
                and (std_confidence is null) = (frequency = 1)
                and coalesce(std_entropy, 0) between 0 and max_entropy - min_entropy + tolerance
                and coalesce(std_confidence, 0) between 0 and 1
            ) is not true
        )
)

select * from final
