with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

token_routing as (
    select * from {{ ref('fct_token_routing') }}
),

frequent_tokens as (
    select token_routing.*
    from token_routing
    inner join latest_run on token_routing.run_id = latest_run.run_id
    where token_routing.frequency > 50 and not token_routing.is_special
),

final as (
    select
        layer,
        token_id,
        token_str,
        frequency,
        top_expert,
        round(routing_consistency, 3) as routing_consistency,
        round(mean_entropy, 3) as mean_entropy
    from frequent_tokens
    qualify
        row_number() over (
            partition by layer
            order by routing_consistency asc, frequency desc, token_id asc
        ) <= 5
)

select * from final
order by layer asc, routing_consistency asc, frequency desc, token_id asc
