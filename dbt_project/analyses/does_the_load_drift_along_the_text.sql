with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

windows as (
    select * from {{ ref('fct_expert_load_window') }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

counted as (
    select
        windows.layer,
        windows.load_window,
        windows.expert,
        sum(windows.selections) as selections
    from windows
    inner join latest_run on windows.run_id = latest_run.run_id
    group by windows.layer, windows.load_window, windows.expert
),

window_shares as (
    select
        *,
        selections / sum(selections) over (partition by layer, load_window) as share
    from counted
),

whole_shares as (
    select
        expert_load.layer,
        expert_load.expert,
        expert_load.selections / sum(expert_load.selections) over (partition by expert_load.layer)
            as share,
        layers.num_experts
    from expert_load
    inner join latest_run on expert_load.run_id = latest_run.run_id
    inner join layers
        on expert_load.run_id = layers.run_id and expert_load.layer = layers.layer
),

compared as (
    select
        window_shares.load_window,
        window_shares.layer,
        sum(least(window_shares.share, whole_shares.share)) as load_in_common,
        max(window_shares.share * whole_shares.num_experts) as max_load_ratio
    from window_shares
    inner join whole_shares
        on
            window_shares.layer = whole_shares.layer
            and window_shares.expert = whole_shares.expert
    group by window_shares.load_window, window_shares.layer
),

final as (
    select
        load_window,
        round(avg(load_in_common), 4) as mean_load_in_common,
        round(min(load_in_common), 4) as least_load_in_common,
        round(max(max_load_ratio), 4) as max_load_ratio
    from compared
    group by load_window
)

select * from final
order by load_window
