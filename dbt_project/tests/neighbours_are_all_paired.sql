with repetition as (
    select * from {{ ref('fct_expert_repetition') }}
    where {{ of_new_runs() }}
),

context_information as (
    select * from {{ ref('fct_context_information') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

bigrams as (
    select * from {{ ref('int_bigram_position') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

-- of the context there is something to say where there are tokens and first choices
told as (
    select
        layers.*,
        layers.ranked and runs.has_token_ids as has_context
    from layers
    inner join runs on layers.run_id = runs.run_id
),

-- the first token of a window has none before it
expected as (
    select
        samples.run_id,
        sum(samples.tokens - ceil(samples.tokens / runs.max_length)) as pairs
    from samples
    inner join runs on samples.run_id = runs.run_id
    group by samples.run_id
),

frequent as (
    select
        runs.run_id,
        count(*) filter (where bigrams.is_frequent) as occurrences
    from runs
    left join bigrams on runs.run_key = bigrams.run_key
    group by runs.run_id
),

final as (
    select
        told.run_id,
        told.layer,
        expected.pairs as expected_pairs,
        repetition.pairs,
        context_information.occurrences,
        context_information.covered_occurrences,
        frequent.occurrences as frequent_occurrences
    from told
    left join expected on told.run_id = expected.run_id
    left join frequent on told.run_id = frequent.run_id
    left join repetition
        on told.run_id = repetition.run_id and told.layer = repetition.layer
    left join context_information
        on
            told.run_id = context_information.run_id
            and told.layer = context_information.layer
    where
        (
            coalesce(repetition.pairs, 0) = coalesce(expected.pairs, 0)
            and told.has_context = (context_information.run_id is not null)
        ) is not true
        or (
            told.has_context
            and (
                context_information.occurrences = coalesce(expected.pairs, 0)
                and context_information.covered_occurrences = frequent.occurrences
            ) is not true
        )
)

select * from final
