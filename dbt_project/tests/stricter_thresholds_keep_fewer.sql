with layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
),

layer_routing as (
    select * from {{ ref('fct_layer_routing') }}
    where {{ of_new_runs() }}
),

adaptive as (
    select * from {{ ref('fct_adaptive_k') }}
    where {{ of_new_runs() }}
),

loads as (
    select
        run_id,
        layer,
        sum(load) as load
    from expert_load
    group by run_id, layer
),

neighbours as (
    select
        *,
        lag(mean_experts) over by_threshold as mean_experts_before,
        lag(retained_gate_mass) over by_threshold as retained_gate_mass_before
    from adaptive
    window by_threshold as (partition by run_id, layer, rule order by threshold)
),

wrong as (
    select
        neighbours.run_id,
        neighbours.layer,
        neighbours.rule,
        neighbours.threshold
    from neighbours
    inner join loads on neighbours.run_id = loads.run_id and neighbours.layer = loads.layer
    inner join layer_routing
        on neighbours.run_id = layer_routing.run_id and neighbours.layer = layer_routing.layer
    where
        (
            coalesce(neighbours.mean_experts <= neighbours.mean_experts_before, true)
            and coalesce(
                neighbours.retained_gate_mass <= neighbours.retained_gate_mass_before + 1e-9, true
            )
            and coalesce(neighbours.retained_gate_mass >= neighbours.experts_share - 1e-6, true)
            and abs(
                neighbours.mean_experts * layer_routing.events
                - neighbours.experts_share * loads.load
            ) < 0.5
        ) is not true
),

counted as (
    select
        run_id,
        layer,
        count(*) filter (where rule = 'weight') as weight_rows,
        count(*) filter (where rule = 'entropy') as entropy_rows
    from adaptive
    group by run_id, layer
),

missing as (
    select
        layers.run_id,
        layers.layer
    from layers
    inner join loads on layers.run_id = loads.run_id and layers.layer = loads.layer
    left join counted on layers.run_id = counted.run_id and layers.layer = counted.layer
    where
        loads.load > 0
        and (
            (layers.has_weights <> (coalesce(counted.weight_rows, 0) > 0))
            or (
                (layers.has_distribution and layers.ranked)
                <> (coalesce(counted.entropy_rows, 0) > 0)
            )
        )
),

final as (
    select * from wrong
    union all by name
    select * from missing
)

select * from final
