{{ config(materialized='table') }}

with pairs as (
    select * from {{ ref('int_comparable_run') }}
),

samples as (
    select * from {{ ref('stg_samples') }}
),

traced_samples as (
    select * from {{ ref('int_traced_sample') }}
),

captured as (
    select
        pairs.run_id,
        pairs.run_key,
        pairs.other_run_id,
        pairs.other_run_key,
        samples.sample_id,
        samples.sample_id as other_sample_id,
        samples.tokens,
        samples.shard,
        other_samples.shard as other_shard
    from pairs
    inner join samples on pairs.run_id = samples.run_id
    inner join samples as other_samples
        on
            pairs.other_run_id = other_samples.run_id
            and samples.sample_id = other_samples.sample_id
            and samples.text_sha256 = other_samples.text_sha256
            and samples.tokens = other_samples.tokens
    where not pairs.is_traced and samples.tokens > 0
),

numbered as (
    select
        *,
        row_number() over (partition by run_key, text_key order by sample_id) as occurrence
    from traced_samples
),

-- an engine does not route the last token that it generates, so a trace may end one token earlier
openings as (
    select
        run_key,
        text_key,
        unnest([tokens, tokens - 1]) as tokens,
        unnest([text_key, beginning_key]) as opening_key,
        unnest([false, true]) as is_cut
    from numbered
    where occurrence = 1
),

common as (
    select
        pairs.run_key,
        pairs.other_run_key,
        openings.text_key,
        other_openings.text_key as other_text_key,
        openings.tokens,
        openings.is_cut or other_openings.is_cut as is_cut
    from pairs
    inner join openings on pairs.run_key = openings.run_key
    inner join openings as other_openings
        on
            pairs.other_run_key = other_openings.run_key
            and openings.opening_key = other_openings.opening_key
    where
        pairs.is_traced and openings.tokens > 0
        -- two texts that differ in their last token are two texts
        and not (openings.is_cut and other_openings.is_cut)
),

ranked as (
    select
        *,
        row_number() over (
            partition by run_key, other_run_key, text_key
            order by tokens desc, is_cut asc, other_text_key asc
        ) as place,
        row_number() over (
            partition by run_key, other_run_key, other_text_key
            order by tokens desc, is_cut asc, text_key asc
        ) as other_place
    from common
),

traced as (
    select
        pairs.run_id,
        pairs.run_key,
        pairs.other_run_id,
        pairs.other_run_key,
        numbered.sample_id,
        other_numbered.sample_id as other_sample_id,
        ranked.tokens,
        samples.shard,
        other_samples.shard as other_shard
    from ranked
    inner join pairs using (run_key, other_run_key)
    inner join numbered
        on ranked.run_key = numbered.run_key and ranked.text_key = numbered.text_key
    inner join numbered as other_numbered
        on
            ranked.other_run_key = other_numbered.run_key
            and ranked.other_text_key = other_numbered.text_key
            and numbered.occurrence = other_numbered.occurrence
    inner join samples
        on pairs.run_id = samples.run_id and numbered.sample_id = samples.sample_id
    inner join samples as other_samples
        on
            pairs.other_run_id = other_samples.run_id
            and other_numbered.sample_id = other_samples.sample_id
    where ranked.place = 1 and ranked.other_place = 1
),

final as (
    select * from captured
    union all
    select * from traced
)

select * from final
