-- Experts in the order of their ids: what is counted from here on does not depend on their rank,
-- which not every source tells.
{{ config(slices='simulated_layers', pre_hook="{{ forget_all() }}") }}

with events as (
    select * from {{ ref('stg_new_run_events') }}
    where layer = {{ this_layer() }}
),

layers as (
    select * from {{ ref('stg_new_layers') }}
    where layer = {{ this_layer() }}
),

samples as (
    {{ simulated_samples() }}
),

final as (
    select
        events.run_key,
        events.layer,
        layers.moe_index,
        layers.stack,
        layers.num_experts,
        layers.has_token_ids,
        samples.is_learned,
        samples.sample_number,
        samples.sample_id,
        samples.domain,
        events.position,
        events.position >= samples.prompt_tokens as is_generated,
        events.token_id,
        list_sort(events.experts) as experts
    from events
    inner join layers on events.run_key = layers.run_key and events.layer = layers.layer
    inner join samples
        on events.run_key = samples.run_key and events.sample_id = samples.sample_id
    where
        -- one sample may be longer than all that is wanted
        events.position
        < if(samples.is_learned, {{ var('learned_tokens') }}, {{ var('simulated_tokens') }})
        -- of a damaged file, for which other tests fail, what can be simulated at all
        and len(events.experts) = layers.top_k
)

select * from final
