{{ config(materialized='table') }}

with samples as (
    select * from {{ ref('stg_samples') }}
    where {{ of_new_runs() }}
),

filled as (
    select * from samples
    where tokens > 0
),

-- in the order of a hash, domains or lengths that alternate along the dataset do not fall into
-- step with the blocks
documents as (
    select
        run_id,
        document_sha256,
        row_number() over (partition by run_id order by document_sha256) - 1 as place
    from filled
    group by run_id, document_sha256
),

final as (
    select
        filled.run_id,
        {{ run_key('filled.run_id') }} as run_key,
        filled.sample_id,
        cast(documents.place % {{ var('bootstrap_blocks') }} as smallint) as block
    from filled
    inner join documents
        on
            filled.run_id = documents.run_id
            and filled.document_sha256 = documents.document_sha256
)

select * from final
