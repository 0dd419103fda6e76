with samples as (
    select * from {{ ref('stg_samples') }}
    where {{ of_new_runs() }}
),

final as (
    select
        run_id,
        sample_id,
        name,
        domain,
        split,
        tokens,
        dropped_tokens,
        text_sha256
    from samples
)

select * from final
