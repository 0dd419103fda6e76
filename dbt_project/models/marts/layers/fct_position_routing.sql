with choices as (
    select * from {{ ref('int_position_expert_choice') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

centred as (
    select
        *,
        sum(entropy_sum) over bucket / sum(selections) over bucket as bucket_entropy
    from choices
    where is_first
    window bucket as (partition by run_key, layer, position_bucket)
),

buckets as (
    select
        run_key,
        layer,
        position_bucket,
        cast(sum(selections) as bigint) as events,
        any_value(bucket_entropy) as mean_entropy,
        {{ merged_m2('selections', 'entropy_sum / selections', 'entropy_m2', 'bucket_entropy') }}
            as entropy_m2
    from centred
    group by run_key, layer, position_bucket
),

experts as (
    select
        run_key,
        layer,
        position_bucket,
        expert,
        cast(sum(selections) as bigint) as selections,
        cast(coalesce(sum(selections) filter (where is_first), 0) as bigint)
            as first_choices
    from choices
    group by run_key, layer, position_bucket, expert
),

final as (
    select
        runs.run_id,
        experts.layer,
        experts.position_bucket,
        cast(experts.expert as integer) as expert,
        layers.moe_index,
        {{ first_position('experts.position_bucket') }} as first_position,
        {{ first_position('(experts.position_bucket + 1)') }} - 1 as last_position,
        buckets.events as bucket_events,
        buckets.mean_entropy as bucket_mean_entropy,
        {{ sample_deviation('buckets.entropy_m2', 'buckets.events') }} as bucket_std_entropy,
        experts.selections,
        case when layers.ranked then experts.first_choices end as first_choices,
        experts.selections / (layers.top_k * buckets.events) as load_share,
        case when layers.ranked then experts.first_choices / buckets.events end
            as first_choice_share
    from experts
    inner join buckets
        on
            experts.run_key = buckets.run_key
            and experts.layer = buckets.layer
            and experts.position_bucket = buckets.position_bucket
    inner join runs on experts.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and experts.layer = layers.layer
)

select * from final
