{{ config(
    materialized='layered',
    slices='compared_layers',
    pre_hook="{{ forget_rebuilt_runs('other_run_id') }}"
) }}

with events as (
    select * from {{ ref('int_compared_event') }}
    where layer = {{ this_layer() }}
),

flipped_events as (
    select * from {{ ref('int_flipped_event') }}
    where layer = {{ this_layer() }}
),

pairs as (
    select * from {{ ref('int_run_pair') }}
),

layers as (
    select * from {{ ref('int_compared_layer') }}
    where layer = {{ this_layer() }}
),

weighed as (
    select
        layers.*,
        pairs.tokens,
        case when layers.is_margin_of_other then pairs.other_run_key else pairs.run_key end
            as weighed_run_key,
        case when layers.is_margin_of_other then pairs.other_sample_id else pairs.sample_id end
            as weighed_sample_id
    from layers
    inner join pairs
        on layers.run_key = pairs.run_key and layers.other_run_key = pairs.other_run_key
),

placed as (
    select
        weighed.run_key,
        weighed.other_run_key,
        {{ nearest_window_position('events', 'weighed') }} as window_position,
        {{ margin('events.weights') }} as margin
    from weighed
    inner join events
        on
            weighed.weighed_run_key = events.run_key
            and weighed.weighed_sample_id = events.sample_id
            and weighed.tokens > events.position
),

buckets as (
    select
        run_key,
        other_run_key,
        {{ position_bucket('window_position') }} as position_bucket,
        cast({{ margin_bucket('margin') }} as smallint) as margin_bucket,
        count(*) as tokens
    from placed
    group by all
),

flips as (
    select
        run_key,
        other_run_key,
        position_bucket,
        margin_bucket,
        count(*) filter (where is_set_flip) as set_flips,
        count(*) filter (where is_top_flip) as top_flips
    from flipped_events
    group by run_key, other_run_key, position_bucket, margin_bucket
),

counted as (
    select
        layers.*,
        buckets.position_bucket,
        buckets.margin_bucket,
        buckets.tokens,
        coalesce(flips.set_flips, 0) as set_flips,
        case when layers.are_ranked then coalesce(flips.top_flips, 0) end as top_flips
    from buckets
    inner join layers
        on buckets.run_key = layers.run_key and buckets.other_run_key = layers.other_run_key
    left join flips
        on
            buckets.run_key = flips.run_key
            and buckets.other_run_key = flips.other_run_key
            and buckets.position_bucket = flips.position_bucket
            and buckets.margin_bucket is not distinct from flips.margin_bucket
),

final as (
    select
        run_id,
        other_run_id,
        layer,
        moe_index,
        position_bucket,
        margin_bucket,
        {{ first_position('position_bucket') }} as first_position,
        {{ first_position('(position_bucket + 1)') }} - 1 as last_position,
        {{ smallest_margin('margin_bucket') }} as smallest_margin,
        tokens,
        set_flips,
        top_flips,
        set_flips / tokens as set_flip_share,
        top_flips / tokens as top_flip_share
    from counted
)

select * from final
