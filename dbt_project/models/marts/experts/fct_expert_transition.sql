with transitions as (
    select * from {{ ref('int_expert_transition') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

merged as (
    select
        run_key,
        layer,
        next_layer,
        expert,
        next_expert,
        cast(sum(tokens) as bigint) as tokens
    from transitions
    group by run_key, layer, next_layer, expert, next_expert
),

totalled as (
    select
        *,
        cast(sum(tokens) over (partition by run_key, layer, expert) as bigint) as expert_tokens,
        sum(tokens) over (partition by run_key, layer, next_expert)
        / sum(tokens) over (partition by run_key, layer) as next_expert_share
    from merged
),

final as (
    select
        runs.run_id,
        totalled.layer,
        cast(totalled.expert as integer) as expert,
        cast(totalled.next_expert as integer) as next_expert,
        layers.moe_index,
        totalled.next_layer,
        totalled.tokens,
        totalled.expert_tokens,
        totalled.tokens / totalled.expert_tokens as probability,
        totalled.next_expert_share,
        totalled.tokens / totalled.expert_tokens / totalled.next_expert_share as lift
    from totalled
    inner join runs on totalled.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and totalled.layer = layers.layer
)

select * from final
