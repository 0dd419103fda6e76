{{ config(materialized='view') }}

with final as (
    {{ events_of_shards(
        'run_id in (select run_id from ' ~ ref('int_run_pair')
        ~ ' union select other_run_id from ' ~ ref('int_run_pair') ~ ')'
    ) }}
)

select * from final
