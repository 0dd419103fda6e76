with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

segments as (
    select * from {{ ref('fct_segment_consistency') }}
),

final as (
    pivot (
        select
            segments.layer,
            segments.segment_length,
            segments.segment_consistency
        from segments
        inner join latest_run on segments.run_id = latest_run.run_id
    )
    on segment_length in (4, 16, 64, 256)
    using round(avg(segment_consistency), 4)
    group by layer
)

select * from final
order by layer
