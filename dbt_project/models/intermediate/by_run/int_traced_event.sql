{{ config(materialized='view') }}

with final as (
    {{ events_of_shards(
        'run_id in (select unnest([run_id, other_run_id]) from ' ~ ref('int_comparable_run')
        ~ ' where is_traced)'
    ) }}
)

select * from final
