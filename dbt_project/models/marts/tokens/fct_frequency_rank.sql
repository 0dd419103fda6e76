with token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

positions as (
    select * from {{ ref('int_bigram_position') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

-- every MoE layer sees the same tokens: one layer counts them
first_layer as (
    select * from token_routing
    where moe_index = 0
),

mean_positions as (
    select
        runs.run_id,
        positions.token_id,
        avg({{ window_position('positions', 'runs') }}) as mean_position
    from positions
    inner join runs on positions.run_key = runs.run_key
    group by runs.run_id, positions.token_id
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
        ranked.run_id,
        ranked.token_id,
        ranked.token_str,
        ranked.is_special,
        ranked.frequency,
        ranked.frequency_rank,
        ranked.frequency / ranked.tokens as share,
        ranked.cumulative_frequency / ranked.tokens as cumulative_share,
        mean_positions.mean_position
    from ranked
    left join mean_positions
        on ranked.run_id = mean_positions.run_id and ranked.token_id = mean_positions.token_id
)

select * from final
