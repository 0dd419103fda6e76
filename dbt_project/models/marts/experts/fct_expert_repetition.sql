with repetition as (
    select * from {{ ref('int_expert_repetition') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

merged as (
    select
        run_key,
        layer,
        cast(sum(pairs) as bigint) as pairs,
        sum(first_choice_repeats) as first_choice_repeats,
        sum(first_or_second_repeats) as first_or_second_repeats,
        sum(any_choice_repeats) as any_choice_repeats
    from repetition
    group by run_key, layer
),

loads as (
    select
        run_id,
        layer,
        sum(pow(first_choice_share, 2)) as first_choice_chance_by_load
    from expert_load
    group by run_id, layer
),

final as (
    select
        runs.run_id,
        merged.layer,
        layers.moe_index,
        merged.pairs,
        case when layers.ranked then merged.first_choice_repeats / merged.pairs end
            as first_choice_repetition,
        1 / layers.num_experts as first_choice_chance,
        loads.first_choice_chance_by_load,
        case
            when layers.ranked and layers.top_k > 1
                then merged.first_or_second_repeats / merged.pairs
        end as first_or_second_repetition,
        case when layers.top_k > 1 then {{ overlap_chance('layers.num_experts', '2') }} end
            as first_or_second_chance,
        merged.any_choice_repeats / merged.pairs as any_choice_repetition,
        {{ overlap_chance('layers.num_experts', 'layers.top_k') }} as any_choice_chance
    from merged
    inner join runs on merged.run_key = runs.run_key
    left join layers on runs.run_id = layers.run_id and merged.layer = layers.layer
    left join loads on runs.run_id = loads.run_id and merged.layer = loads.layer
)

select * from final
