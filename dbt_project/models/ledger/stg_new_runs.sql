-- A table, not a view, for the many statements of a build that read it.
{{ config(materialized='table') }}

with runs as (
    select * from {{ ref('stg_runs') }}
),

final as (
    select
        run_id,
        run_key,
        max_length,
        has_token_ids
    from runs
    where is_new
)

select * from final
