{{ config(materialized='table') }}

with runs as (
    select * from {{ ref('stg_runs') }}
),

samples as (
    select * from {{ ref('stg_samples') }}
),

layers as (
    select * from {{ ref('stg_layers') }}
),

layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
),

samples_by_run as (
    select
        run_id,
        count(*) as samples,
        count(*) - count(distinct text_sha256) as duplicate_samples,
        cast(sum(tokens) as bigint) as tokens,
        cast(sum(dropped_tokens) as bigint) as dropped_tokens
    from samples
    group by run_id
),

layers_by_run as (
    select
        run_id,
        cast(count(*) as integer) as moe_layers
    from layers
    group by run_id
),

events_by_run as (
    select
        run_id,
        cast(sum(events) as bigint) as events
    from layer_routing
    group by run_id
),

final as (
    select
        runs.run_id,
        runs.model,
        runs.model_fingerprint,
        runs.tokenizer_fingerprint,
        runs.dataset,
        runs.dataset_fingerprint,
        runs.first_sample,
        runs.num_samples,
        runs.max_length,
        runs.windows,
        runs.dtype,
        runs.quantization,
        runs.attention_implementation,
        runs.experts_implementation,
        runs.trust_remote_code,
        runs.lake_version,
        runs.shards,
        runs.skipped_empty,
        runs.skipped_broken,
        runs.lines,
        runs.document_field,
        runs.batch_size,
        runs.device,
        runs.versions,
        runs.started_at,
        runs.finished_at,
        runs.capture_seconds,
        runs.source,
        runs.source_files,
        runs.has_token_ids,
        runs.generate,
        runs.temperature,
        runs.seed,
        runs.has_output_norms,
        samples_by_run.samples,
        samples_by_run.duplicate_samples,
        samples_by_run.tokens,
        samples_by_run.dropped_tokens,
        layers_by_run.moe_layers,
        events_by_run.events
    from runs
    left join samples_by_run on runs.run_id = samples_by_run.run_id
    left join layers_by_run on runs.run_id = layers_by_run.run_id
    left join events_by_run on runs.run_id = events_by_run.run_id
)

select * from final
