with pairs as (
    select * from {{ ref('int_expert_pair') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

both_ways as (
    select * from pairs
    union all
    select
        run_key,
        layer,
        other_expert as expert,
        expert as other_expert,
        tokens,
        adjacent_tokens
    from pairs
),

merged as (
    select
        run_key,
        layer,
        expert,
        other_expert,
        cast(sum(tokens) as bigint) as tokens,
        cast(sum(adjacent_tokens) as bigint) as adjacent_tokens
    from both_ways
    group by run_key, layer, expert, other_expert
),

final as (
    select
        runs.run_id,
        merged.layer,
        cast(merged.expert as integer) as expert,
        cast(merged.other_expert as integer) as other_expert,
        layers.moe_index,
        merged.tokens,
        case when layers.ranked then merged.adjacent_tokens end as adjacent_tokens,
        expert_load.selections as expert_selections,
        merged.tokens / expert_load.selections as probability,
        case when layers.ranked then merged.adjacent_tokens / expert_load.selections end
            as adjacent_probability,
        (layers.top_k - 1) / (layers.num_experts - 1) as uniform_probability
    from merged
    inner join runs on merged.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and merged.layer = layers.layer
    left join expert_load
        on
            runs.run_id = expert_load.run_id
            and merged.layer = expert_load.layer
            and merged.expert = expert_load.expert
)

select * from final
