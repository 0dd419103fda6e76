with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

stability as (
    select * from {{ ref('fct_keep_set_stability') }}
),

final as (
    select
        stability.measure,
        stability.keep_share,
        stability.basis,
        stability.part,
        stability.reference,
        round(avg(stability.jaccard), 3) as mean_jaccard,
        round(min(stability.jaccard), 3) as min_jaccard,
        count(*) filter (where stability.jaccard < 1) as layers_that_differ,
        round(avg(stability.overlap), 3) as mean_overlap,
        round(avg(stability.chance_overlap), 3) as chance_overlap,
        round(avg(stability.selections)) as mean_selections
    from stability
    inner join latest_run on stability.run_id = latest_run.run_id
    where stability.part <> 'all' or stability.basis <> 'text'
    group by
        stability.measure,
        stability.keep_share,
        stability.basis,
        stability.part,
        stability.reference
)

select * from final
order by measure asc, keep_share asc, basis desc, mean_selections asc, part asc
