with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

token_routing as (
    select * from {{ ref('fct_token_routing') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

classed as (
    select
        token_routing.*,
        ln(layers.num_experts) as largest_entropy,
        cast(floor(log10(token_routing.frequency)) as integer) as magnitude
    from token_routing
    inner join latest_run on token_routing.run_id = latest_run.run_id
    inner join layers
        on token_routing.run_id = layers.run_id and token_routing.layer = layers.layer
),

final as (
    select
        layer,
        cast(pow(10, magnitude) as bigint) as frequency_from,
        cast(pow(10, magnitude + 1) as bigint) - 1 as frequency_to,
        count(*) as tokens,
        round(sum(mean_entropy * frequency) / sum(frequency), 3) as mean_entropy,
        round(sum(mean_entropy * frequency) / sum(frequency * largest_entropy), 3)
            as normalised_entropy,
        round(sum(routing_consistency * frequency) / sum(frequency), 3) as routing_consistency
    from classed
    group by layer, magnitude
)

select * from final
order by layer asc, frequency_from asc
