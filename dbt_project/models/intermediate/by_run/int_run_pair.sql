-- Runs over the same text with the same tokenizer, at least one of them new.
{{ config(materialized='table') }}

with runs as (
    select * from {{ ref('stg_runs') }}
),

samples as (
    select * from {{ ref('stg_samples') }}
),

pairs as (
    select
        runs.run_id,
        runs.run_key,
        other_runs.run_id as other_run_id,
        other_runs.run_key as other_run_key
    from runs
    inner join runs as other_runs
        on
            runs.tokenizer_fingerprint = other_runs.tokenizer_fingerprint
            and (runs.started_at, runs.run_id) < (other_runs.started_at, other_runs.run_id)
            and (runs.is_new or other_runs.is_new)
            and runs.has_token_ids
            and other_runs.has_token_ids
),

final as (
    select
        pairs.run_id,
        pairs.run_key,
        pairs.other_run_id,
        pairs.other_run_key,
        samples.sample_id,
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
    where samples.tokens > 0
)

select * from final
