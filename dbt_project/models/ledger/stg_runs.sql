-- A table, not a view: the single list of finished runs that the whole build uses. A run that
-- finishes during the build waits for the next one.
{{ config(materialized='table') }}

with runs as (
    select * from {{ lake('runs') }}
),

shards as (
    select * from {{ ref('stg_shards') }}
),

previous as (
    {{ previous_rows(['run_id']) }}
),

landed as (
    select
        run_id,
        count(*) as landed_shards,
        bool_and(is_new) as is_all_new
    from shards
    group by run_id
),

finished as (
    select
        runs.*,
        coalesce(landed.is_all_new, false) or previous.run_id is null as is_new
    from runs
    left join landed on runs.run_id = landed.run_id
    left join previous on runs.run_id = previous.run_id
    where
        runs.finished_at is not null
        -- counts land before their run has finished, and it has no shards
        and (runs.shards = landed.landed_shards or runs.source = 'counts')
),

final as (
    select
        run_id,
        {{ run_key('run_id') }} as run_key,
        is_new,
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
        skipped_empty,
        skipped_broken,
        lines,
        document_field,
        batch_size,
        device,
        versions,
        started_at,
        finished_at,
        capture_seconds,
        source,
        source_files,
        has_token_ids,
        generate,
        temperature,
        seed,
        coalesce(output_norms, false) as has_output_norms
    from finished
)

select * from final
