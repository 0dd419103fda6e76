with load_comparison as (
    select * from {{ ref('fct_load_comparison') }}
),

final as (
    select
        run_id,
        other_run_id,
        layer,
        num_experts,
        round(shared_load, 4) as shared_load,
        round(load_correlation, 4) as load_correlation,
        dead_in_both,
        dead_in_one
    from load_comparison
)

select * from final
order by run_id, other_run_id, layer
