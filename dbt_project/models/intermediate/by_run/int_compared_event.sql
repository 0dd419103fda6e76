{{ config(materialized='view') }}

with final as (
    {{ events_of_shards(
        '(run_id, shard) in (select (run_id, shard) from ' ~ ref('int_run_pair')
        ~ ' union select (other_run_id, other_shard) from ' ~ ref('int_run_pair') ~ ')'
    ) }}
)

select * from final
