with vocabulary as (
    select * from {{ ref('stg_vocabulary') }}
    where {{ of_new_runs() }}
),

final as (
    select
        run_id,
        token_id,
        token_str,
        is_special
    from vocabulary
)

select * from final
