with replays as (
    select * from {{ ref('fct_replay') }}
    where {{ of_new_replays() }} and kind = 'tokens'
),

replay_layers as (
    select * from {{ ref('fct_replay_layer') }}
    where {{ of_new_replays() }}
),

-- what other marts say of the same tables
fast_paths as (
    select
        run_id,
        layer,
        min_share,
        min_frequency,
        null as frequency_threshold,
        null as entropy_threshold,
        null as table_size,
        covered_occurrences,
        set_agreement
    from {{ ref('fct_fast_path_shares') }}
    where {{ of_new_replays() }}
    union all by name
    select
        run_id,
        layer,
        frequency_threshold,
        entropy_threshold,
        covered_occurrences,
        set_agreement
    from {{ ref('fct_fast_path_thresholds') }}
    where {{ of_new_replays() }}
    union all by name
    select
        run_id,
        layer,
        table_size,
        covered_occurrences,
        set_agreement
    from {{ ref('fct_fast_path_agreement') }}
    where {{ of_new_replays() }}
),

overruled as (
    select
        replay_layers.*,
        replays.min_share,
        replays.min_frequency,
        replays.frequency_threshold,
        replays.entropy_threshold,
        replays.table_size
    from replay_layers
    inner join replays
        on
            replay_layers.run_id = replays.run_id
            and replay_layers.policy_id = replays.policy_id
    where
        replays.moe_indices is null
        or list_contains(replays.moe_indices, replay_layers.moe_index)
),

final as (
    select overruled.*
    from overruled
    inner join fast_paths
        on
            overruled.run_id = fast_paths.run_id
            and overruled.layer = fast_paths.layer
            and overruled.min_share is not distinct from fast_paths.min_share
            and overruled.min_frequency is not distinct from fast_paths.min_frequency
            and overruled.frequency_threshold is not distinct from fast_paths.frequency_threshold
            and overruled.entropy_threshold is not distinct from fast_paths.entropy_threshold
            and overruled.table_size is not distinct from fast_paths.table_size
    where
        coalesce(overruled.predicted_occurrences, 0) <> fast_paths.covered_occurrences
        or overruled.predicted_agreement is distinct from fast_paths.set_agreement
)

select * from final
