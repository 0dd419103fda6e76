with events as (
    select * from {{ ref('stg_new_events') }}
    where {{ in_these_layers() }}
),

layers as (
    select * from {{ ref('stg_new_layers') }}
),

ranks as (
    {{ ranks() }}
),

-- what is the same for all of an event's choices is computed before there is a row for each
scored as (
    select
        events.run_key,
        events.layer,
        events.experts,
        events.weights,
        cast(events.entropy as double) / ln(layers.num_experts) as entropy_share,
        cast({{ reached('entropy_share', 'adaptive_entropies') }} as smallint) as entropies_reached,
        case
            when layers.ranked then 1
            else coalesce(list_position(events.weights, list_max(events.weights)), 1)
        end as first_rank
    from events
    inner join layers on events.run_key = layers.run_key and events.layer = layers.layer
),

choices as (
    select
        scored.run_key,
        scored.layer,
        scored.entropies_reached,
        cast(scored.weights[ranks.rank] as double) as weight,
        ranks.rank = scored.first_rank as is_first
    from scored
    cross join ranks
    where ranks.rank <= len(scored.experts)
),

bucketed as (
    select
        run_key,
        layer,
        entropies_reached,
        cast({{ reached('weight', 'adaptive_weights') }} as smallint) as weights_reached,
        is_first,
        weight
    from choices
    where weight is distinct from 0
),

final as (
    select
        run_key,
        layer,
        entropies_reached,
        weights_reached,
        is_first,
        count(*) as choices,
        sum(weight) as gate_mass
    from bucketed
    group by run_key, layer, entropies_reached, weights_reached, is_first
)

select * from final
