{{ config(slices='all_new_layers', pre_hook="{{ forget_all() }}") }}

with events as (
    select * from {{ ref('stg_new_generated_events') }}
    where {{ in_these_layers() }}
),

samples as (
    select * from {{ ref('stg_new_samples') }}
),

placed as (
    select
        events.*,
        events.position >= samples.prompt_tokens as is_generated
    from events
    inner join samples
        on events.run_key = samples.run_key and events.sample_id = samples.sample_id
),

final as (
    select
        run_key,
        layer,
        is_generated,
        {{ event_moments() }}
    from placed
    group by run_key, layer, is_generated
)

select * from final
