{{ config(materialized='view') }}

with events as (
    select *
    from {{ events_in_files(
        'run_id in (select run_id from ' ~ ref('int_run_pair')
        ~ ' union select other_run_id from ' ~ ref('int_run_pair') ~ ')'
    ) }}
),

final as (
    select
        run_id,
        {{ run_key('run_id') }} as run_key,
        sample_id,
        position,
        token_id,
        layer,
        experts,
        top_expert,
        entropy
    from events
)

select * from final
