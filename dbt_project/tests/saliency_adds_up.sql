with saliency as (
    select * from {{ ref('fct_expert_saliency') }}
    where {{ of_new_runs() }}
),

ranks as (
    select
        run_id,
        layer,
        expert,
        unnest([
            {measure: 'selections', place: selections_rank},
            {measure: 'gate_mass', place: gate_mass_rank},
            {measure: 'mean_output_norm', place: mean_output_norm_rank},
            {measure: 'ean', place: ean_rank},
            {measure: 'reap', place: reap_rank}
        ], recursive := true)
    from saliency
),

wrong_ranks as (
    select
        run_id,
        layer
    from ranks
    where place is not null
    group by run_id, layer, measure
    having count(distinct place) <> count(*) or min(place) <> 1 or max(place) <> count(*)
),

wrong_sums as (
    select
        run_id,
        layer
    from saliency
    where
        abs(ean - load * coalesce(mean_output_norm, 0)) > 1e-9 * (1 + ean)
        or reap > max_weight * max_output_norm * (1 + 1e-9)
        or mean_output_norm > max_output_norm * (1 + 1e-9)
),

-- whoever is first has the largest value
wrong_orders as (
    select
        run_id,
        layer
    from saliency
    group by run_id, layer
    having
        arg_min(selections, selections_rank) <> max(selections)
        or arg_min(gate_mass, gate_mass_rank) <> max(gate_mass)
        or arg_min(ean, ean_rank) <> max(ean)
        or arg_min(reap, reap_rank) <> max(reap)
),

final as (
    select * from wrong_ranks
    union all
    select * from wrong_sums
    union all
    select * from wrong_orders
)

select * from final
