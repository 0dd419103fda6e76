{{ config(alias='vocabulary') }}

with vocabulary as (
    select * from {{ lake('vocabulary') }}
),

finished_runs as (
    select run_id from {{ ref('stg_runs') }}
),

final as (
    select
        vocabulary.run_id,
        vocabulary.token_id,
        vocabulary.token_str,
        vocabulary.is_special
    from vocabulary
    semi join finished_runs on vocabulary.run_id = finished_runs.run_id
)

select * from final
