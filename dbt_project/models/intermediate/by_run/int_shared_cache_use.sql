{{ config(materialized='incremental') }}

with events as (
    select * from {{ ref('int_simulated_event') }}
    where not is_learned and {{ of_new_runs('run_key') }}
),

policies as (
    select unnest(['lru', 'lfu', 'belady']) as policy
),

-- a run's experts are numbered through all of its layers
numbered as (
    select
        *,
        max(moe_index) over (partition by run_key) + 1 as num_layers,
        max(num_experts) over (partition by run_key) as experts_of_layer,
        dense_rank() over (partition by run_key order by sample_number, position) as token_number
    from events
),

asked as (
    select
        * exclude (num_layers, experts_of_layer, experts),
        cast(num_layers * experts_of_layer as integer) as num_shared,
        list_transform(
            experts, lambda expert: cast(moe_index * experts_of_layer + expert as usmallint)
        ) as experts
    from numbered
    where token_number * num_layers * len(experts) <= {{ var('shared_cache_accesses') }}
),

samples as (
    select
        run_key,
        num_shared,
        sample_number,
        sample_id,
        sum(len(experts)) as accesses
    from asked
    group by run_key, num_shared, sample_number, sample_id
),

dealt as (
    select
        *,
        {{ stream_number('partition by run_key', 'num_shared') }} as stream_number
    from samples
),

streams as (
    select
        dealt.run_key,
        dealt.num_shared,
        list(asked.is_generated order by asked.sample_number, asked.position, asked.moe_index)
            as are_generated,
        list(asked.experts order by asked.sample_number, asked.position, asked.moe_index) as experts
    from asked
    inner join dealt on asked.run_key = dealt.run_key and asked.sample_id = dealt.sample_id
    group by dealt.run_key, dealt.num_shared, dealt.stream_number
),

served as (
    select
        streams.run_key,
        policies.policy,
        unnest(streams.are_generated) as is_generated,
        unnest(cache_distances(streams.experts, streams.num_shared, policies.policy)) as distances
    from streams
    cross join policies
),

found as (
    select
        * exclude (distances),
        unnest(distances) as distance
    from served
),

final as (
    select
        run_key,
        policy,
        is_generated,
        cast(distance as integer) as distance,
        count(*) as accesses
    from found
    group by run_key, policy, is_generated, distance
)

select * from final
