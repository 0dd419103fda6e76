{{ config(slices='compared_layers', pre_hook="{{ forget_all() }}") }}

with events as (
    select * from {{ ref('int_compared_event') }}
    where layer = {{ this_layer() }}
),

pairs as (
    select * from {{ ref('int_run_pair') }}
),

layers as (
    select * from {{ ref('int_compared_layer') }}
    where layer = {{ this_layer() }}
),

reordered as (
    select
        layers.run_key,
        layers.other_run_key,
        events.sample_id,
        events.position,
        events.layer,
        {{ nearest_window_position('events', 'layers') }} as window_position,
        case
            when layers.is_margin_of_other then {{ margin('other_events.weights') }}
            else {{ margin('events.weights') }}
        end as margin,
        list_sort(events.experts) <> list_sort(other_events.experts) as is_set_flip,
        coalesce(events.top_expert <> other_events.top_expert, false) as is_top_flip
    from {{ shared_events() }}
    -- most events are equal, and comparing lists is cheaper than sorting them
    where events.experts <> other_events.experts
),

final as (
    select
        run_key,
        other_run_key,
        sample_id,
        position,
        layer,
        {{ position_bucket('window_position') }} as position_bucket,
        cast({{ margin_bucket('margin') }} as smallint) as margin_bucket,
        is_set_flip,
        is_top_flip
    from reordered
    where is_set_flip or is_top_flip
)

select * from final
