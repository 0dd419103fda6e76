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
            struct_pack(measure := 'selections', place := selections_rank),
            struct_pack(measure := 'gate_mass', place := gate_mass_rank),
            struct_pack(measure := 'mean_output_norm', place := mean_output_norm_rank),
            struct_pack(measure := 'ean', place := ean_rank),
            struct_pack(measure := 'reap', place := reap_rank)
        ]) as ranked
    from saliency
),

wrong_ranks as (
    select
        ranks.run_id,
        ranks.layer
    from ranks
    where ranks.ranked.place is not null
    group by ranks.run_id, ranks.layer, ranks.ranked.measure
    having
        count(distinct ranks.ranked.place) <> count(*)
        or min(ranks.ranked.place) <> 1
        or max(ranks.ranked.place) <> count(*)
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
