with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

repetition as (
    select * from {{ ref('fct_expert_repetition') }}
),

final as (
    select
        repetition.layer,
        round(repetition.first_choice_repetition, 4) as first_choice,
        round(repetition.first_choice_chance, 4) as chance,
        round(repetition.first_choice_chance_by_load, 4) as chance_by_load,
        round(repetition.first_or_second_repetition, 4) as first_or_second,
        round(repetition.first_or_second_chance, 4) as first_or_second_chance,
        round(repetition.any_choice_repetition, 4) as any_choice,
        round(repetition.any_choice_chance, 4) as any_choice_chance
    from repetition
    inner join latest_run on repetition.run_id = latest_run.run_id
)

select * from final
order by layer
