with samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

sizes as (
    select
        run_id,
        block,
        count(distinct document_sha256) as documents,
        bool_and(tokens = 0) as are_empty
    from samples
    group by run_id, block
),

compared as (
    select
        *,
        min(documents) filter (where block is not null) over (partition by run_id)
            as smallest,
        max(block) over (partition by run_id) as last_block,
        count(block) over (partition by run_id) as blocks
    from sizes
),

final as (
    select * from compared
    where
        (
            are_empty = (block is null)
            and (block is null or documents <= smallest + 1)
            and coalesce(block, 0) between 0 and {{ var('bootstrap_blocks') }} - 1
            -- with a document in every block, or a block for every document
            and (
                blocks = coalesce(last_block + 1, 0)
                and (blocks = {{ var('bootstrap_blocks') }} or coalesce(smallest, 1) = 1)
            )
        ) is not true
)

select * from final
