with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

agreement as (
    select * from {{ ref('fct_fast_path_agreement') }}
),

final as (
    select
        agreement.layer,
        agreement.table_size,
        agreement.table_tokens,
        round(agreement.coverage, 4) as coverage,
        round(agreement.top_agreement, 4) as top_agreement,
        round(agreement.set_agreement, 4) as set_agreement,
        round(agreement.retained_gate_mass, 4) as retained_gate_mass
    from agreement
    inner join latest_run on agreement.run_id = latest_run.run_id
    -- no size beyond the first that holds every token adds anything
    where agreement.table_size / 4 < agreement.table_tokens
)

select * from final
order by layer, table_size
