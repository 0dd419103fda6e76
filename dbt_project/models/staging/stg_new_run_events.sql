with events as (
    select *
    from {{ events_in_files('run_id in (select run_id from ' ~ ref('stg_new_runs') ~ ')') }}
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
