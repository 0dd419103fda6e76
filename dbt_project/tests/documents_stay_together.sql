with samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

final as (
    select
        run_id,
        document_sha256,
        count(distinct split) as splits,
        count(distinct block) as blocks
    from samples
    group by run_id, document_sha256
    having splits <> 1 or blocks > 1
)

select * from final
