with layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

coverage as (
    select * from {{ ref('fct_calibration_coverage') }}
    where {{ of_new_runs() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

runs as (
    select * from {{ ref('dim_run') }}
    where {{ of_new_runs() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

numbered_samples as (
    select
        run_id,
        sample_id,
        row_number() over (partition by run_id order by sample_id) as sample_number
    from samples
),

experts as (
    select
        layers.run_id,
        layers.layer,
        cast(unnest(range(layers.num_experts)) as integer) as expert
    from layers
),

final as (
    select experts.*
    from experts
    inner join runs on experts.run_id = runs.run_id
    left join expert_load
        on
            experts.run_id = expert_load.run_id
            and experts.layer = expert_load.layer
            and experts.expert = expert_load.expert
    left join coverage
        on
            experts.run_id = coverage.run_id
            and experts.layer = coverage.layer
            and experts.expert = coverage.expert
    left join numbered_samples
        on
            coverage.run_id = numbered_samples.run_id
            and coverage.first_sample_id = numbered_samples.sample_id
    where
        (
            coverage.selections = expert_load.selections
            and coverage.samples_until_1_token is not distinct from numbered_samples.sample_number
            and coverage.samples + coalesce(coverage.samples_until_1_token, 1) - 1 <= runs.samples
            -- a later sample is needed for more tokens only if the earlier ones have too few
            and coalesce(coverage.samples_until_10_tokens >= coverage.samples_until_1_token, true)
            and coalesce(
                coverage.samples_until_100_tokens >= coverage.samples_until_10_tokens, true
            )
            and coalesce(
                coverage.samples_until_1000_tokens >= coverage.samples_until_100_tokens, true
            )
            and coalesce(coverage.samples_until_1000_tokens, 0) <= runs.samples
        ) is not true
)

select * from final
