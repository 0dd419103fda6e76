with runs as (
    select * from {{ ref('dim_run') }}
),

final as (
    select
        run_id,
        device,
        dtype,
        quantization,
        batch_size,
        samples,
        tokens,
        events,
        finished_at,
        round(capture_seconds, 1) as capture_seconds,
        round(tokens / nullif(capture_seconds, 0)) as tokens_per_second,
        round(events / nullif(capture_seconds, 0)) as events_per_second
    from runs
)

select * from final
order by finished_at desc, run_id desc
