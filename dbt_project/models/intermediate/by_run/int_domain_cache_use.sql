with events as (
    select * from {{ ref('int_simulated_event') }}
    where layer = {{ this_layer() }}
),

sizes_of_domains as (
    select
        run_key,
        domain,
        count(*) filter (where is_learned) as learned_tokens,
        count(*) filter (where not is_learned) as asked_tokens
    from events
    group by run_key, domain
),

-- every domain is tried on every other one
domains as (
    select
        run_key,
        domain
    from sizes_of_domains
    where learned_tokens > 0 and asked_tokens > 0
    qualify
        row_number() over (partition by run_key order by asked_tokens desc, domain asc)
        <= {{ var('cache_domains') }}
),

choices as (
    select
        run_key,
        layer,
        num_experts,
        domain,
        is_learned,
        unnest(experts) as expert
    from events
),

uses as (
    select
        choices.run_key,
        choices.layer,
        choices.num_experts,
        choices.domain,
        choices.is_learned,
        choices.expert,
        count(*) as accesses
    from choices
    inner join domains
        on choices.run_key = domains.run_key and choices.domain = domains.domain
    group by
        choices.run_key,
        choices.layer,
        choices.num_experts,
        choices.domain,
        choices.is_learned,
        choices.expert
),

profiles as (
    select
        run_key,
        layer,
        domain,
        unnest(range(max(num_experts))) as expert
    from uses
    where is_learned
    group by run_key, layer, domain
),

ranked as (
    select
        profiles.*,
        row_number() over (
            partition by profiles.run_key, profiles.layer, profiles.domain
            order by coalesce(uses.accesses, 0) desc, profiles.expert asc
        ) - 1 as distance
    from profiles
    left join uses
        on
            profiles.run_key = uses.run_key
            and profiles.domain = uses.domain
            and profiles.expert = uses.expert
            and uses.is_learned
),

final as (
    select
        uses.run_key,
        uses.layer,
        ranked.domain as profile_domain,
        uses.domain,
        cast(ranked.distance as integer) as distance,
        cast(sum(uses.accesses) as bigint) as accesses
    from uses
    inner join ranked on uses.run_key = ranked.run_key and uses.expert = ranked.expert
    where not uses.is_learned
    group by uses.run_key, uses.layer, ranked.domain, uses.domain, ranked.distance
)

select * from final
