with replays as (
    select * from {{ ref('fct_replay') }}
    where kind = 'tokens'
),

replay_layers as (
    select * from {{ ref('fct_replay_layer') }}
    where covered > 0
),

joined as (
    select
        replay_layers.*,
        replays.policy,
        replays.delta_nll
    from replay_layers
    inner join replays
        on
            replay_layers.run_id = replays.run_id
            and replay_layers.policy_id = replays.policy_id
),

final as (
    select
        run_id,
        policy,
        layer,
        round(predicted_coverage, 3) as predicted_coverage,
        round(coverage, 3) as coverage,
        round(predicted_agreement, 3) as predicted_agreement,
        round(set_agreement, 3) as set_agreement,
        round(undisturbed_share, 3) as undisturbed_share,
        round(delta_nll, 4) as delta_nll_of_all_layers
    from joined
)

select * from final
order by run_id, policy, layer
