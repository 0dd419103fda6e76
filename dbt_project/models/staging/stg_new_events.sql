-- Names the files of the shards that no build has counted yet: a filter on file names would not
-- keep DuckDB from opening them all.
with events as (
    select * from {{ events_in_files('is_new') }}
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
        weights,
        top_expert,
        entropy,
        confidence
    from events
)

select * from final
