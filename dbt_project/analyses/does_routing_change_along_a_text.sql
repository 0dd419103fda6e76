with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

positions as (
    select * from {{ ref('fct_position_routing') }}
),

buckets as (
    select
        positions.layer,
        positions.first_position,
        positions.last_position,
        any_value(positions.bucket_events) as tokens,
        any_value(positions.bucket_mean_entropy) as mean_entropy,
        max(positions.load_share) as busiest_load_share
    from positions
    inner join latest_run on positions.run_id = latest_run.run_id
    group by positions.layer, positions.first_position, positions.last_position
),

final as (
    select
        first_position,
        last_position,
        any_value(tokens) as tokens,
        round(avg(mean_entropy), 4) as mean_entropy,
        round(avg(busiest_load_share), 4) as busiest_load_share
    from buckets
    group by first_position, last_position
)

select * from final
order by first_position
