{{ config(alias='counts') }}

with counts as (
    select * from {{ lake('counts') }}
),

finished_runs as (
    select run_id from {{ ref('stg_runs') }}
),

final as (
    select
        counts.run_id,
        counts.layer,
        counts.expert,
        counts.selections
    from counts
    semi join finished_runs on counts.run_id = finished_runs.run_id
)

select * from final
