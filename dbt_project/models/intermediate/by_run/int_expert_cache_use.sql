{{ config(slices='all_new_layers') }}

with events as (
    select * from {{ ref('int_simulated_event') }}
    where {{ of_new_runs('run_key') }} and {{ in_these_layers() }}
),

layers as (
    select * from {{ ref('stg_new_layers') }}
),

policies as (
    select unnest(['lru', 'lfu', 'belady']) as policy
),

asked as (
    select * from events
    where not is_learned
),

samples as (
    select
        run_key,
        layer,
        num_experts,
        sample_number,
        sample_id,
        domain,
        sum(len(experts)) as accesses
    from asked
    group by run_key, layer, num_experts, sample_number, sample_id, domain
),

dealt as (
    select
        *,
        false as is_of_domain,
        null as domain_apart,
        {{ stream_number('partition by run_key, layer', 'num_experts') }} as stream_number
    from samples
    union all by name
    select
        *,
        true as is_of_domain,
        domain as domain_apart,
        {{ stream_number('partition by run_key, layer, domain', 'num_experts') }} as stream_number
    from samples
    qualify
        min(domain) over (partition by run_key, layer)
        <> max(domain) over (partition by run_key, layer)
),

streams as (
    select
        dealt.run_key,
        dealt.layer,
        dealt.num_experts,
        dealt.is_of_domain,
        list(asked.sample_id order by asked.sample_number, asked.position) as sample_ids,
        list(asked.is_generated order by asked.sample_number, asked.position) as are_generated,
        list(asked.experts order by asked.sample_number, asked.position) as experts
    from asked
    inner join dealt
        on
            asked.run_key = dealt.run_key
            and asked.layer = dealt.layer
            and asked.sample_id = dealt.sample_id
    group by
        dealt.run_key,
        dealt.layer,
        dealt.num_experts,
        dealt.is_of_domain,
        dealt.domain_apart,
        dealt.stream_number
),

served as (
    select
        streams.run_key,
        streams.layer,
        streams.is_of_domain,
        policies.policy,
        unnest(streams.sample_ids) as sample_id,
        unnest(streams.are_generated) as is_generated,
        unnest(cache_distances(streams.experts, streams.num_experts, policies.policy)) as distances
    from streams
    cross join policies
),

found as (
    select
        * exclude (distances),
        unnest(distances) as distance
    from served
),

-- caches that are filled beforehand, by what is known of the text or of other text
choices as (
    select
        * exclude (experts),
        unnest(experts) as expert
    from events
),

uses as (
    select
        run_key,
        layer,
        is_learned,
        sample_id,
        is_generated,
        expert,
        count(*) as accesses
    from choices
    group by run_key, layer, is_learned, sample_id, is_generated, expert
),

filled as (
    select
        run_key,
        layer,
        if(is_learned, 'static_train', 'static_hindsight') as policy,
        cast(null as bigint) as sample_id,
        expert,
        sum(accesses) as accesses
    from uses
    group by run_key, layer, is_learned, expert
    union all by name
    select
        run_key,
        layer,
        'static_prompt' as policy,
        sample_id,
        expert,
        accesses
    from uses
    where not is_learned and not is_generated
),

fillings as (
    select distinct
        run_key,
        layer,
        policy,
        sample_id
    from filled
),

every_expert as (
    select
        fillings.run_key,
        fillings.layer,
        fillings.policy,
        fillings.sample_id,
        unnest(range(layers.num_experts)) as expert
    from fillings
    inner join layers on fillings.run_key = layers.run_key and fillings.layer = layers.layer
),

ranked as (
    select
        every_expert.*,
        row_number() over (
            partition by
                every_expert.run_key,
                every_expert.layer,
                every_expert.policy,
                every_expert.sample_id
            order by coalesce(filled.accesses, 0) desc, every_expert.expert asc
        ) - 1 as distance
    from every_expert
    left join filled
        on
            every_expert.run_key = filled.run_key
            and every_expert.layer = filled.layer
            and every_expert.policy = filled.policy
            and every_expert.sample_id is not distinct from filled.sample_id
            and every_expert.expert = filled.expert
),

final as (
    select
        run_key,
        layer,
        is_of_domain,
        policy,
        sample_id,
        is_generated,
        cast(distance as integer) as distance,
        count(*) as accesses
    from found
    group by run_key, layer, is_of_domain, policy, sample_id, is_generated, distance
    union all by name
    select
        uses.run_key,
        uses.layer,
        false as is_of_domain,
        ranked.policy,
        uses.sample_id,
        uses.is_generated,
        cast(ranked.distance as integer) as distance,
        cast(sum(uses.accesses) as bigint) as accesses
    from uses
    inner join ranked
        on
            uses.run_key = ranked.run_key
            and uses.layer = ranked.layer
            and uses.expert = ranked.expert
            and coalesce(ranked.sample_id, uses.sample_id) = uses.sample_id
    where
        not uses.is_learned
        -- a cache that the prompt fills serves what follows from it
        and (ranked.policy <> 'static_prompt' or uses.is_generated)
    group by
        uses.run_key,
        uses.layer,
        ranked.policy,
        uses.sample_id,
        uses.is_generated,
        ranked.distance
)

select * from final
