-- A table, not a view: the one list of finished runs that the whole build agrees on. A run that
-- finishes while the build goes on waits for the next build.
{{ config(materialized='table') }}

with runs as (
    select * from {{ source('lake', 'runs') }}
),

finished as (
    select * from runs
    where finished_at is not null
),

final as (
    select
        run_id,
        -- events group faster by a short key than by the run's name
        cast(row_number() over (order by started_at, run_id) as integer) as run_number,
        model,
        model_fingerprint,
        tokenizer_fingerprint,
        dataset,
        dataset_fingerprint,
        first_sample,
        num_samples,
        max_length,
        windows,
        dtype,
        quantization,
        attention_implementation,
        experts_implementation,
        trust_remote_code,
        lake_version,
        shards,
        batch_size,
        device,
        versions,
        started_at,
        finished_at,
        capture_seconds
    from finished
)

select * from final
