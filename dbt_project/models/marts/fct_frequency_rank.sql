with token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

-- every MoE layer sees the same tokens: one layer counts them
first_layer as (
    select * from token_routing
    where moe_index = 0
),

ranked as (
    select
        *,
        row_number() over most_frequent_first as frequency_rank,
        sum(frequency) over most_frequent_first as cumulative_frequency,
        sum(frequency) over (partition by run_id) as tokens
    from first_layer
    window most_frequent_first as (
        partition by run_id
        order by frequency desc, token_id asc
        rows between unbounded preceding and current row
    )
),

final as (
    select
        run_id,
        token_id,
        token_str,
        is_special,
        frequency,
        frequency_rank,
        frequency / tokens as share,
        cumulative_frequency / tokens as cumulative_share
    from ranked
)

select * from final
