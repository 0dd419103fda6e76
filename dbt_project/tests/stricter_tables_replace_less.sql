with replays as (
    select * from {{ ref('fct_replay') }}
    where {{ of_new_replays() }} and kind = 'tokens'
),

replay_samples as (
    select * from {{ ref('fct_replay_sample') }}
    where {{ of_new_replays() }}
),

replay_layers as (
    select * from {{ ref('fct_replay_layer') }}
    where {{ of_new_replays() }}
),

texts as (
    select
        run_id,
        policy_id,
        list(sample_id order by sample_id) as sample_ids
    from replay_samples
    group by run_id, policy_id
),

rules as (
    select
        replays.run_id,
        replays.policy_id,
        replays.moe_indices,
        texts.sample_ids,
        coalesce(replays.min_share, 0) as min_share,
        coalesce(replays.min_frequency, 0) as min_frequency,
        coalesce(replays.frequency_threshold, 0) as frequency_threshold,
        coalesce(replays.entropy_threshold, 'infinity') as entropy_threshold,
        coalesce(replays.table_size, 9223372036854775807) as table_size
    from replays
    inner join texts
        on replays.run_id = texts.run_id and replays.policy_id = texts.policy_id
),

pairs as (
    select
        rules.run_id,
        rules.policy_id,
        stricter.policy_id as stricter_policy_id
    from rules
    inner join rules as stricter
        on
            rules.run_id = stricter.run_id
            and rules.sample_ids = stricter.sample_ids
            and rules.moe_indices is not distinct from stricter.moe_indices
            and rules.min_share <= stricter.min_share
            and rules.min_frequency <= stricter.min_frequency
            and rules.frequency_threshold <= stricter.frequency_threshold
            and rules.entropy_threshold >= stricter.entropy_threshold
            and rules.table_size >= stricter.table_size
),

final as (
    select
        pairs.*,
        replay_layers.layer,
        replay_layers.covered,
        stricter_layers.covered as stricter_covered
    from pairs
    inner join replay_layers
        on pairs.run_id = replay_layers.run_id and pairs.policy_id = replay_layers.policy_id
    left join replay_layers as stricter_layers
        on
            pairs.run_id = stricter_layers.run_id
            and pairs.stricter_policy_id = stricter_layers.policy_id
            and replay_layers.layer = stricter_layers.layer
    where (replay_layers.covered >= stricter_layers.covered) is not true
)

select * from final
