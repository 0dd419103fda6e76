with predictions as (
    select * from {{ ref('int_prefetch_use') }}
    where {{ of_new_runs('run_key') }}
),

caches as (
    select * from {{ ref('int_expert_cache_use') }}
    where {{ of_new_runs('run_key') }} and policy in ('static_train', 'static_prompt')
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

budgets as (
    select
        run_id,
        layer,
        unnest({{ cache_sizes('num_experts', 'top_k') }}) as budget
    from layers
),

-- experts that are loaded once and stay are a prediction too
ranked as (
    select * from predictions
    union all by name
    select
        run_key,
        layer,
        policy as predictor,
        0 as horizon,
        is_generated,
        distance as rank,
        sum(accesses) as accesses
    from caches
    group by run_key, layer, policy, is_generated, distance
),

found as (
    select
        runs.run_id,
        ranked.layer,
        ranked.is_generated,
        ranked.predictor,
        ranked.horizon,
        budgets.budget,
        {{ accesses_and_hits('ranked.accesses', 'ranked.rank < budgets.budget') }}
    from ranked
    inner join runs on ranked.run_key = runs.run_key
    inner join budgets on runs.run_id = budgets.run_id and ranked.layer = budgets.layer
    group by
        runs.run_id,
        ranked.layer,
        ranked.is_generated,
        ranked.predictor,
        ranked.horizon,
        budgets.budget
),

final as (
    select
        found.run_id,
        found.layer,
        {{ phase('found.is_generated') }} as phase,
        found.predictor,
        cast(found.horizon as smallint) as horizon,
        found.budget,
        layers.moe_index,
        found.accesses,
        found.hits,
        found.hits / found.accesses as recall,
        found.budget / layers.num_experts as chance_recall
    from found
    inner join layers on found.run_id = layers.run_id and found.layer = layers.layer
)

select * from final
