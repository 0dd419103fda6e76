with comparison as (
    select * from {{ ref('fct_run_comparison') }}
),

final as (
    select
        run_id,
        other_run_id,
        layer,
        tokens,
        round(expert_overlap, 4) as expert_overlap,
        round(set_agreement, 4) as set_agreement,
        round(top_agreement, 4) as top_agreement,
        round(mean_absolute_entropy_change, 5) as mean_absolute_entropy_change
    from comparison
)

select * from final
order by run_id, other_run_id, layer
