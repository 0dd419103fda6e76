with events as (
    select * from {{ ref('stg_new_events') }}
),

layers as (
    select * from {{ ref('stg_new_layers') }}
),

ranks as (
    {{ ranks() }}
),

scored as (
    select
        events.run_key,
        events.layer,
        events.experts,
        events.weights,
        cast(events.entropy as double) / ln(layers.num_experts) as entropy_share,
        case
            when layers.ranked then 1
            else coalesce(list_position(events.weights, list_max(events.weights)), 1)
        end as first_rank
    from events
    inner join layers on events.run_key = layers.run_key and events.layer = layers.layer
),

-- once for an event, not for each of its choices
bucketed as (
    select
        run_key,
        layer,
        experts,
        weights,
        first_rank,
        cast({{ reached('entropy_share', 'adaptive_entropies') }} as smallint) as entropies_reached
    from scored
),

choices as (
    select
        bucketed.run_key,
        bucketed.layer,
        bucketed.entropies_reached,
        bucketed.experts[ranks.rank] as expert,
        cast(bucketed.weights[ranks.rank] as double) as weight,
        ranks.rank = bucketed.first_rank as is_first
    from bucketed
    cross join ranks
),

-- Experts that did not run, and ranks that a layer does not have, are of bucket 0: leaving them out
-- here, one by one, would take longer than counting them.
counted as (
    select
        run_key,
        layer,
        entropies_reached,
        coalesce(
            cast(weight > 0 as smallint) + {{ reached('weight', 'adaptive_weights') }},
            case when expert is null then 0 end
        ) as bucket,
        is_first,
        count(*) as choices,
        sum(weight) as gate_mass
    from choices
    group by all
),

final as (
    select
        run_key,
        layer,
        entropies_reached,
        cast(bucket - 1 as smallint) as weights_reached,
        is_first,
        choices,
        gate_mass
    from counted
    where bucket is distinct from 0
)

select * from final
