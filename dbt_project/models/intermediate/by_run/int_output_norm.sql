{{ config(slices='new_normed_layers') }}

with events as (
    select * from {{ ref('stg_new_normed_events') }}
    where layer = {{ this_layer() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

placed_samples as (
    select
        {{ run_key('run_id') }} as run_key,
        sample_id,
        domain,
        {{ load_window() }} as load_window
    from samples
),

choices as (
    select
        run_key,
        layer,
        sample_id,
        unnest(experts) as expert,
        unnest(weights) as weight,
        unnest(output_norms) as output_norm
    from events
),

final as (
    select
        choices.run_key,
        choices.layer,
        placed_samples.domain,
        placed_samples.load_window,
        choices.expert,
        count(*) as activations,
        sum(cast(choices.output_norm as double)) as norm_sum,
        sum(cast(choices.weight as double) * choices.output_norm) as weighted_norm_sum,
        max(cast(choices.weight as double)) as max_weight,
        max(cast(choices.output_norm as double)) as max_output_norm
    from choices
    inner join placed_samples
        on
            choices.run_key = placed_samples.run_key
            and choices.sample_id = placed_samples.sample_id
    -- there is none where the expert did not run
    where choices.output_norm is not null
    group by
        choices.run_key,
        choices.layer,
        placed_samples.domain,
        placed_samples.load_window,
        choices.expert
)

select * from final
