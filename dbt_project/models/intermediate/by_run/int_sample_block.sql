{{ config(materialized='table') }}

with samples as (
    select * from {{ ref('stg_samples') }}
    where {{ of_new_runs() }}
),

-- in the order of a hash, domains or lengths that alternate with the id do not fall into step
-- with the blocks
shuffled as (
    select
        run_id,
        sample_id,
        row_number() over (
            partition by run_id
            order by md5_number_lower(cast(sample_id as varchar)) asc, sample_id asc
        ) - 1 as place
    from samples
    where tokens > 0
),

final as (
    select
        run_id,
        {{ run_key('run_id') }} as run_key,
        sample_id,
        cast(place % {{ var('bootstrap_blocks') }} as smallint) as block
    from shuffled
)

select * from final
