with runs as (
    select * from {{ ref('dim_run') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

token_routing as (
    select * from {{ ref('fct_token_routing') }}
    where {{ of_new_runs() }}
),

layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
    where {{ of_new_runs() }}
),

frequency_rank as (
    select * from {{ ref('fct_frequency_rank') }}
    where {{ of_new_runs() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

-- those of a window are 0, 1, …; all but a sample's last are of the maximum length
sample_positions as (
    select
        samples.run_id,
        sum(
            samples.tokens // runs.max_length
            * (runs.max_length * (cast(runs.max_length as bigint) - 1) // 2)
            + samples.tokens % runs.max_length
            * (cast(samples.tokens % runs.max_length as bigint) - 1) // 2
        ) as position_sum
    from samples
    inner join runs on samples.run_id = runs.run_id
    group by samples.run_id
),

frequencies as (
    select
        run_id,
        layer,
        sum(frequency) as occurrences
    from token_routing
    group by run_id, layer
),

ranked as (
    select
        run_id,
        sum(frequency) as occurrences,
        sum(frequency * mean_position) as position_sum
    from frequency_rank
    group by run_id
),

final as (
    select
        layers.run_id,
        layers.layer,
        runs.tokens,
        runs.events,
        runs.has_token_ids,
        frequencies.occurrences,
        layer_routing.events as layer_events,
        ranked.occurrences as ranked_occurrences,
        ranked.position_sum as ranked_position_sum,
        sample_positions.position_sum
    from layers
    left join runs on layers.run_id = runs.run_id
    left join ranked on layers.run_id = ranked.run_id
    left join sample_positions on layers.run_id = sample_positions.run_id
    left join frequencies
        on layers.run_id = frequencies.run_id and layers.layer = frequencies.layer
    left join layer_routing
        on layers.run_id = layer_routing.run_id and layers.layer = layer_routing.layer
    where
        (
            runs.events = runs.tokens * runs.moe_layers
            and layer_routing.events = runs.tokens
            and coalesce(frequencies.occurrences, 0)
            = case when runs.has_token_ids then runs.tokens else 0 end
            and coalesce(ranked.occurrences, 0)
            = case when runs.has_token_ids then runs.tokens else 0 end
        ) is not true
        or (
            runs.has_token_ids
            and (
                abs(ranked.position_sum - sample_positions.position_sum)
                <= 1e-9 * sample_positions.position_sum
            ) is not true
        )
)

select * from final
