with replays as (
    select * from {{ ref('fct_replay') }}
),

final as (
    select
        run_id,
        policy,
        documents,
        round(coverage, 3) as coverage,
        round(experts_per_token, 2) as experts_per_token,
        round(delta_nll, 4) as delta_nll,
        round(perplexity_ratio, 4) as perplexity_ratio,
        round(same_top_share, 3) as same_top_share,
        round(set_agreement, 3) as set_agreement
    from replays
    where not is_control and coverage > 0 and perplexity_ratio <= 1.01
)

select * from final
order by run_id asc, coverage desc, perplexity_ratio asc, policy asc
