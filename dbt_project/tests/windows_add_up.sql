with windows as (
    select * from {{ ref('fct_expert_load_window') }}
    where {{ of_new_runs() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs_with_events() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

summed as (
    select
        run_id,
        layer,
        expert,
        sum(selections) as selections
    from windows
    group by run_id, layer, expert
),

-- every window of as many tokens, up to a sample's
sized as (
    select
        windows.run_id,
        windows.layer,
        windows.load_window,
        sum(windows.selections) / any_value(layers.top_k) as tokens
    from windows
    inner join layers on windows.run_id = layers.run_id and windows.layer = layers.layer
    group by windows.run_id, windows.layer, windows.load_window
),

runs as (
    select
        run_id,
        sum(tokens) / {{ var('load_windows') }} as fair_tokens,
        max(tokens) as longest_sample
    from samples
    group by run_id
),

wrong_sums as (
    select
        expert_load.run_id,
        expert_load.layer
    from expert_load
    left join summed
        on
            expert_load.run_id = summed.run_id
            and expert_load.layer = summed.layer
            and expert_load.expert = summed.expert
    where coalesce(summed.selections, 0) <> expert_load.selections
),

wrong_sizes as (
    select
        sized.run_id,
        sized.layer
    from sized
    inner join runs on sized.run_id = runs.run_id
    where sized.tokens > runs.fair_tokens + runs.longest_sample
),

final as (
    select * from wrong_sums
    union all
    select * from wrong_sizes
)

select * from final
