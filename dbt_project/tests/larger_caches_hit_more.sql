with caches as (
    select * from {{ ref('fct_expert_cache') }}
    where {{ of_new_runs() }}
),

shared_caches as (
    select * from {{ ref('fct_shared_expert_cache') }}
    where {{ of_new_runs() }}
),

samples as (
    select * from {{ ref('fct_expert_cache_sample') }}
    where {{ of_new_runs() }}
),

predictions as (
    select * from {{ ref('fct_prefetch_recall') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

of_everything as (
    select
        run_id,
        layer,
        concat_ws(' ', phase, policy) as kind,
        slots,
        accesses,
        hits
    from caches
    union all by name
    select
        run_id,
        null as layer,
        concat_ws(' ', 'all layers', phase, policy) as kind,
        slots,
        accesses,
        hits
    from shared_caches
    union all by name
    select
        run_id,
        layer,
        concat_ws(' ', phase, predictor, horizon) as kind,
        budget as slots,
        accesses,
        hits
    from predictions
),

shrinking as (
    select
        run_id,
        layer,
        kind
    from of_everything
    window by_slots as (partition by run_id, layer, kind order by slots)
    qualify
        hits < lag(hits) over by_slots
        or accesses <> lag(accesses) over by_slots
),

-- of the whole text, as the best cache for it need not be the best for each phase
by_policy as (
    select
        run_id,
        layer,
        slots,
        sum(hits) filter (where policy = 'lru') as lru,
        sum(hits) filter (where policy = 'lfu') as lfu,
        sum(hits) filter (where policy = 'belady') as belady,
        sum(hits) filter (where policy = 'static_train') as static_train,
        sum(hits) filter (where policy = 'static_hindsight') as static_hindsight,
        sum(accesses) filter (where policy = 'lru') as accesses
    from caches
    group by run_id, layer, slots
),

better_than_the_best as (
    select
        layers.run_id,
        layers.layer,
        'policies' as kind
    from layers
    inner join by_policy on layers.run_id = by_policy.run_id and layers.layer = by_policy.layer
    where
        by_policy.belady < greatest(by_policy.lru, by_policy.lfu)
        or by_policy.static_hindsight < coalesce(by_policy.static_train, 0)
        or (
            by_policy.slots = layers.num_experts
            and (
                by_policy.static_hindsight <> by_policy.accesses
                or least(by_policy.lru, by_policy.lfu) <> by_policy.belady
            )
        )
),

by_sample as (
    select
        run_id,
        phase,
        policy,
        slots,
        sum(accesses) as accesses,
        sum(hits) as hits
    from samples
    group by run_id, phase, policy, slots
),

by_layer as (
    select
        run_id,
        phase,
        policy,
        slots,
        sum(accesses) as accesses,
        sum(hits) as hits
    from caches
    group by run_id, phase, policy, slots
),

alike as (
    select run_id
    from layers
    group by run_id
    having min(num_experts) = max(num_experts)
),

not_adding_up as (
    select
        run_id,
        null as layer,
        'samples' as kind
    from by_layer
    full join by_sample using (run_id, phase, policy, slots)
    semi join alike using (run_id)
    where
        by_layer.hits is distinct from by_sample.hits
        or by_layer.accesses is distinct from by_sample.accesses
),

final as (
    select * from shrinking
    union all by name
    select * from better_than_the_best
    union all by name
    select * from not_adding_up
)

select * from final
