-- A table, not a view: the single list of landed parts of replays that the whole build uses.
{{ config(materialized='table') }}

with files as (
    select * from {{ lake('replay_files') }}
),

replays as (
    select * from {{ lake('replays') }}
),

contents as (
    {{ contents_of_runs() }}
),

runs as (
    select * from {{ ref('stg_runs') }}
),

previous as (
    {{ previous_rows(['run_id', 'path', 'bytes', 'modified_at', 'present_sha256']) }}
),

listed as (
    select
        regexp_extract(filename, '/run_id=([^/]+)/', 1) as run_id,
        filename as path,
        size as bytes,
        last_modified as modified_at
    from files
),

concerned as (
    select distinct
        filename as path,
        unnest([run_id, routing_of]) as run_id
    from replays
),

present as (
    select
        concerned.path,
        sha256(string_agg(contents.content_sha256, '' order by concerned.run_id)) as present_sha256
    from concerned
    left join contents on concerned.run_id = contents.run_id
    group by concerned.path
),

landed as (
    select
        listed.*,
        runs.is_new as is_of_new_run,
        present.present_sha256
    from listed
    inner join runs on listed.run_id = runs.run_id
    left join present on listed.path = present.path
),

-- if a part has come, gone or changed, or what it was replayed of, its whole run is counted again
disturbed_runs as (
    select run_id from landed
    where is_of_new_run
    union
    select coalesce(landed.run_id, previous.run_id) as run_id
    from landed
    full join previous
        on
            landed.path = previous.path
            and landed.bytes = previous.bytes
            and landed.modified_at = previous.modified_at
            and landed.present_sha256 is not distinct from previous.present_sha256
    where landed.path is null or previous.path is null
),

final as (
    select
        landed.run_id,
        landed.path,
        landed.bytes,
        landed.modified_at,
        landed.present_sha256,
        disturbed_runs.run_id is not null as is_new
    from landed
    left join disturbed_runs on landed.run_id = disturbed_runs.run_id
)

select * from final
