with token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

-- a threshold means something where there are both tokens and entropies
layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
    where {{ of_new_runs() }} and token_types is not null and mean_entropy is not null
),

{{ threshold_grids() }},

-- a token's strictest thresholds: it is eligible at these and at every laxer pair
strictest as (
    select
        token_routing.run_id,
        token_routing.layer,
        token_routing.frequency,
        frequency_thresholds.frequency_threshold,
        entropy_thresholds.entropy_threshold
    from token_routing
    asof join frequency_thresholds
        on token_routing.frequency > frequency_thresholds.frequency_threshold
    asof join entropy_thresholds
        on token_routing.mean_entropy < entropy_thresholds.entropy_threshold
),

counted as (
    select
        run_id,
        layer,
        frequency_threshold,
        entropy_threshold,
        count(*) as eligible_tokens,
        sum(frequency) as covered_occurrences
    from strictest
    group by run_id, layer, frequency_threshold, entropy_threshold
),

grid as (
    select
        layer_routing.*,
        frequency_thresholds.frequency_threshold,
        entropy_thresholds.entropy_threshold
    from layer_routing
    cross join frequency_thresholds
    inner join entropy_thresholds on {{ is_in_grid('layer_routing.num_experts') }}
),

covered as (
    select
        grid.run_id,
        grid.layer,
        grid.frequency_threshold,
        grid.entropy_threshold,
        grid.moe_index,
        cast(coalesce(sum(counted.eligible_tokens), 0) as bigint) as eligible_tokens,
        grid.token_types,
        cast(coalesce(sum(counted.covered_occurrences), 0) as bigint) as covered_occurrences,
        grid.events as occurrences
    from grid
    left join counted
        on
            grid.run_id = counted.run_id
            and grid.layer = counted.layer
            and grid.frequency_threshold <= counted.frequency_threshold
            and grid.entropy_threshold >= counted.entropy_threshold
    group by all
),

final as (
    select
        *,
        covered_occurrences / occurrences as coverage
    from covered
)

select * from final
