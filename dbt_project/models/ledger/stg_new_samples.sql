-- A table, not a view, for the many statements of a build that read it.
{{ config(materialized='table') }}

with samples as (
    select * from {{ lake('samples') }}
),

touched_runs as (
    select run_id from {{ ref('stg_shards') }}
    where is_new
    union
    select run_id from {{ ref('stg_new_runs') }}
),

final as (
    select
        samples.run_id,
        {{ run_key('samples.run_id') }} as run_key,
        samples.sample_id,
        samples.domain,
        samples.split,
        samples.tokens,
        samples.prompt_tokens,
        samples.text_sha256
    from samples
    semi join touched_runs on samples.run_id = touched_runs.run_id
)

select * from final
