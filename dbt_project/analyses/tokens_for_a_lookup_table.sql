with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

token_routing as (
    select * from {{ ref('fct_token_routing') }}
),

frequency_ranks as (
    select * from {{ ref('fct_frequency_rank') }}
),

over_layers as (
    select
        token_routing.run_id,
        token_routing.token_id,
        min(token_routing.routing_consistency) as lowest_consistency,
        avg(token_routing.routing_consistency) as mean_consistency,
        max(token_routing.mean_entropy) as highest_entropy,
        list(token_routing.top_expert order by token_routing.moe_index) as top_experts
    from token_routing
    inner join latest_run on token_routing.run_id = latest_run.run_id
    group by token_routing.run_id, token_routing.token_id
),

final as (
    select
        frequency_ranks.token_id,
        frequency_ranks.token_str,
        frequency_ranks.frequency,
        round(frequency_ranks.share, 4) as share,
        round(over_layers.lowest_consistency, 3) as lowest_consistency,
        round(over_layers.mean_consistency, 3) as mean_consistency,
        round(over_layers.highest_entropy, 3) as highest_entropy,
        over_layers.top_experts
    from over_layers
    inner join frequency_ranks
        on
            over_layers.run_id = frequency_ranks.run_id
            and over_layers.token_id = frequency_ranks.token_id
    where frequency_ranks.frequency > 50 and over_layers.lowest_consistency >= 0.8
    order by frequency_ranks.frequency_rank asc
    limit 20
)

select * from final
order by frequency desc, token_id asc
