{{ config(alias='samples') }}

with samples as (
    select * from {{ lake('samples') }}
),

finished_runs as (
    select run_id from {{ ref('stg_runs') }}
),

final as (
    select
        samples.run_id,
        samples.sample_id,
        {{ shard_number('samples.filename') }} as shard,
        samples.name,
        samples.domain,
        samples.document,
        samples.split,
        samples.tokens,
        samples.dropped_tokens,
        samples.text_sha256,
        samples.document_sha256,
        samples.prompt_tokens,
        samples.turns
    from samples
    semi join finished_runs on samples.run_id = finished_runs.run_id
)

select * from final
