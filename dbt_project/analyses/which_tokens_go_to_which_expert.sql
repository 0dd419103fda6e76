with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

token_routing as (
    select * from {{ ref('fct_token_routing') }}
),

of_the_run as (
    select token_routing.*
    from token_routing
    inner join latest_run on token_routing.run_id = latest_run.run_id
),

by_expert as (
    select
        layer,
        top_expert,
        count(*) as tokens,
        cast(sum(frequency) as bigint) as occurrences,
        sum(frequency * routing_consistency) / sum(frequency) as routing_consistency,
        list(token_str order by frequency desc, token_id asc)[:8] as most_frequent_tokens
    from of_the_run
    group by layer, top_expert
),

final as (
    select
        layer,
        top_expert,
        tokens,
        round(occurrences / sum(occurrences) over (partition by layer), 3) as share,
        round(routing_consistency, 3) as routing_consistency,
        most_frequent_tokens
    from by_expert
    qualify row_number() over (partition by layer order by occurrences desc, top_expert asc) <= 8
)

select * from final
order by layer asc, share desc, top_expert asc
