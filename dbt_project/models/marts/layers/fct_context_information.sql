with bigram_experts as (
    select * from {{ ref('int_bigram_expert') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
    where has_token_ids
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }} and ranked
),

repetition as (
    select * from {{ ref('int_expert_repetition') }}
    where {{ of_new_runs('run_key') }}
),

token_experts as (
    select
        run_key,
        layer,
        token_id,
        top_expert,
        sum(occurrences) as occurrences
    from bigram_experts
    group by run_key, layer, token_id, top_expert
),

tokens as (
    select
        run_key,
        layer,
        sum(occurrences) as occurrences,
        {{ entropy_of_counts('occurrences') }} as plug_in_entropy,
        {{ miller_madow('occurrences') }} as correction
    from token_experts
    group by run_key, layer, token_id
),

bigrams as (
    select
        run_key,
        layer,
        sum(occurrences) as occurrences,
        {{ entropy_of_counts('occurrences') }} as plug_in_entropy,
        {{ miller_madow('occurrences') }} as correction
    from bigram_experts
    group by run_key, layer, previous_token_id, token_id
),

by_token as (
    select
        run_key,
        layer,
        count(*) as token_types,
        sum(occurrences * plug_in_entropy) / sum(occurrences) as plug_in_entropy,
        sum(occurrences * (plug_in_entropy + correction)) / sum(occurrences) as entropy
    from tokens
    group by run_key, layer
),

by_bigram as (
    select
        run_key,
        layer,
        count(*) as bigrams,
        cast(sum(occurrences) as bigint) as covered_occurrences,
        sum(occurrences * plug_in_entropy) / sum(occurrences) as plug_in_entropy,
        sum(occurrences * (plug_in_entropy + correction)) / sum(occurrences) as entropy
    from bigrams
    group by run_key, layer
),

pairs as (
    select
        run_key,
        layer,
        cast(sum(pairs) as bigint) as occurrences
    from repetition
    group by run_key, layer
),

final as (
    select
        runs.run_id,
        layers.layer,
        layers.moe_index,
        cast({{ var('bigram_threshold') }} as bigint) as bigram_threshold,
        coalesce(by_bigram.bigrams, 0) as bigrams,
        coalesce(by_token.token_types, 0) as token_types,
        coalesce(pairs.occurrences, 0) as occurrences,
        coalesce(by_bigram.covered_occurrences, 0) as covered_occurrences,
        coalesce(by_bigram.covered_occurrences, 0) / nullif(pairs.occurrences, 0)
            as covered_share,
        by_token.entropy as entropy_given_token,
        by_bigram.entropy as entropy_given_bigram,
        by_token.entropy - by_bigram.entropy as information_gain,
        by_token.plug_in_entropy - by_bigram.plug_in_entropy as plug_in_information_gain
    from layers
    inner join runs on layers.run_id = runs.run_id
    left join pairs on runs.run_key = pairs.run_key and layers.layer = pairs.layer
    left join by_token on runs.run_key = by_token.run_key and layers.layer = by_token.layer
    left join by_bigram on runs.run_key = by_bigram.run_key and layers.layer = by_bigram.layer
)

select * from final
