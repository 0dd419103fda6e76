with choices as (
    select * from {{ ref('int_segment_expert_choice') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

totalled as (
    select
        *,
        sum(tokens * segments) over at_least_as_many as kept_tokens,
        sum(segments) over at_least_as_many as kept_segments,
        sum(tokens * segments) over (partition by run_key, layer, segment_length, expert)
            as expert_tokens,
        -- every threshold above the next smaller count keeps the same segments
        coalesce(lead(tokens) over at_least_as_many, 0) + 1 as smallest_threshold
    from choices
    window at_least_as_many as (
        partition by run_key, layer, segment_length, expert
        order by tokens desc
        rows between unbounded preceding and current row
    )
),

scored as (
    select
        *,
        2 * kept_tokens / (segment_length * kept_segments + expert_tokens) as f1
    from totalled
),

marked as (
    select
        *,
        f1 = max(f1) over (partition by run_key, layer, segment_length, expert) as is_best
    from scored
),

best as (
    select
        run_key,
        layer,
        segment_length,
        expert,
        cast(any_value(expert_tokens) as bigint) as expert_tokens,
        cast(sum(segments) as bigint) as expert_segments,
        max(f1) as segment_consistency,
        -- ties go to the laxest
        min(smallest_threshold) filter (where is_best) as threshold
    from marked
    group by run_key, layer, segment_length, expert
),

final as (
    select
        runs.run_id,
        best.layer,
        best.segment_length,
        cast(best.expert as integer) as expert,
        layers.moe_index,
        best.expert_tokens,
        best.expert_segments,
        cast(best.threshold as integer) as threshold,
        best.segment_consistency
    from best
    inner join runs on best.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and best.layer = layers.layer
)

select * from final
