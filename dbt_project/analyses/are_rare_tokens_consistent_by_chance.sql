with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

consistency as (
    select * from {{ ref('fct_token_consistency') }}
),

classed as (
    select
        consistency.*,
        cast(floor(log10(consistency.frequency)) as integer) as magnitude
    from consistency
    inner join latest_run on consistency.run_id = latest_run.run_id
),

final as (
    select
        layer,
        cast(pow(10, magnitude) as bigint) as frequency_from,
        cast(pow(10, magnitude + 1) as bigint) - 1 as frequency_to,
        count(*) as tokens,
        round(sum(routing_consistency * frequency) / sum(frequency), 3) as routing_consistency,
        round(sum(held_out_top_agreements) / nullif(sum(held_out_occurrences), 0), 3)
            as held_out_consistency,
        round(sum(vocabulary_specialisation * frequency) / sum(frequency), 3)
            as vocabulary_specialisation,
        round(sum(held_out_selection_agreements) / nullif(sum(held_out_occurrences), 0), 3)
            as held_out_specialisation
    from classed
    group by layer, magnitude
)

select * from final
order by layer asc, frequency_from asc
