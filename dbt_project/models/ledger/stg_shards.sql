-- A table, not a view: the single list of landed shards that the whole build uses. What lands
-- during the build waits for the next one.
{{ config(materialized='table') }}

with files as (
    select * from {{ lake('event_files') }}
),

recorded as (
    select * from {{ lake('shards') }}
),

listed as (
    select
        regexp_extract(filename, '/run_id=([^/]+)/', 1) as run_id,
        {{ shard_number('filename') }} as shard,
        filename as path,
        size as bytes,
        last_modified as modified_at
    from files
),

-- a file without a record has not landed: its capture was killed, or it is a copy
landed as (
    select listed.*
    from listed
    semi join recorded on listed.run_id = recorded.run_id and listed.shard = recorded.shard
),

previous as (
    {{ previous_rows(['run_id', 'shard', 'bytes', 'modified_at', 'is_new', 'is_waiting']) }}
),

previously_finished as (
    {{ previous_rows(['run_id'], 'stg_runs') }}
),

-- if a shard has disappeared or changed, its whole run is counted again
disturbed_runs as (
    select distinct previous.run_id
    from previous
    anti join landed using (run_id, shard, bytes, modified_at)
),

final as (
    select
        landed.run_id,
        {{ run_key('landed.run_id') }} as run_key,
        landed.shard,
        landed.path,
        landed.bytes,
        landed.modified_at,
        previous.run_id is null or disturbed_runs.run_id is not null as is_new,
        coalesce(previous.is_new or previous.is_waiting, false)
        and disturbed_runs.run_id is null
        and previously_finished.run_id is null as is_waiting
    from landed
    left join previous on landed.run_id = previous.run_id and landed.shard = previous.shard
    left join disturbed_runs on landed.run_id = disturbed_runs.run_id
    left join previously_finished on landed.run_id = previously_finished.run_id
)

select * from final
