with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

token_routing as (
    select * from {{ ref('fct_token_routing') }}
),

-- rare tokens score a high consistency and an extreme entropy by chance
common_tokens as (
    select token_routing.*
    from token_routing
    inner join latest_run on token_routing.run_id = latest_run.run_id
    where token_routing.frequency >= 20 and not token_routing.is_special
),

-- ties share the mean of their ranks
ranked as (
    select
        layer,
        rank() over by_frequency + (count(*) over same_frequency - 1) / 2 as frequency_rank,
        rank() over by_entropy + (count(*) over same_entropy - 1) / 2 as entropy_rank,
        rank() over by_consistency + (count(*) over same_consistency - 1) / 2 as consistency_rank
    from common_tokens
    window
        by_frequency as (partition by layer order by frequency),
        by_entropy as (partition by layer order by mean_entropy),
        by_consistency as (partition by layer order by routing_consistency),
        same_frequency as (partition by layer, frequency),
        same_entropy as (partition by layer, mean_entropy),
        same_consistency as (partition by layer, routing_consistency)
),

final as (
    select
        layer,
        count(*) as tokens,
        round(corr(frequency_rank, entropy_rank), 3) as frequency_entropy_correlation,
        round(corr(frequency_rank, consistency_rank), 3) as frequency_consistency_correlation
    from ranked
    group by layer
)

select * from final
order by layer
