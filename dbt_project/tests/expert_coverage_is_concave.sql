with coverage as (
    select * from {{ ref('fct_expert_coverage') }}
    where {{ of_new_runs() }}
),

neighbours as (
    select
        *,
        covered_activations - lag(covered_activations, 1, 0) over by_number as added,
        lag(covered_activations, 1, activations) over by_number
        - lag(covered_activations, 2, 0) over by_number as added_before,
        lag(top_experts, 1, 0) over by_number as previous_experts,
        lead(top_experts) over by_number is null as is_last
    from coverage
    window by_number as (partition by run_id, layer order by top_experts)
),

final as (
    select * from neighbours
    where
        (
            top_experts = previous_experts + 1
            and added >= 0
            and added <= added_before
            and (not is_last or (covered_activations = activations and expert_share = 1))
        ) is not true
)

select * from final
