with stability as (
    select * from {{ ref('fct_keep_set_stability') }}
    where {{ of_new_runs() }}
),

saliency as (
    select * from {{ ref('fct_expert_saliency') }}
    where {{ of_new_runs_with_events() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

selected as (
    select
        run_id,
        layer,
        sum(selections) as selections
    from saliency
    group by run_id, layer
),

-- all of the text is all of the selections, and the halves add up to it
parts as (
    select
        run_id,
        layer,
        measure,
        keep_share,
        sum(selections) filter (where part = 'all') as of_all,
        sum(selections) filter (where part in ('first 1/2', 'second 1/2')) as of_halves
    from stability
    where basis = 'text'
    group by run_id, layer, measure, keep_share
),

wrong_parts as (
    select
        parts.run_id,
        parts.layer
    from parts
    left join selected on parts.run_id = selected.run_id and parts.layer = selected.layer
    where
        parts.of_all is distinct from selected.selections
        -- neither half has a row where one of them is all of the text
        or coalesce(parts.of_halves <> selected.selections, false)
),

-- n of E experts cannot avoid each other where 2n > E
wrong_sets as (
    select
        stability.run_id,
        stability.layer
    from stability
    inner join layers
        on stability.run_id = layers.run_id and stability.layer = layers.layer
    where stability.shared_experts < 2 * stability.kept_experts - layers.num_experts
),

final as (
    select * from wrong_parts
    union all
    select * from wrong_sets
)

select * from final
