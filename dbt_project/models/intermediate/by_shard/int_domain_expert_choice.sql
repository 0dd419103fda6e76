with events as (
    select * from {{ ref('stg_new_events') }}
    where {{ in_these_layers() }}
),

samples as (
    select * from {{ ref('stg_new_samples') }}
),

ranks as (
    {{ ranks() }}
),

placed as (
    select
        events.run_key,
        events.layer,
        events.experts,
        events.weights,
        samples.domain,
        events.position >= samples.prompt_tokens as is_generated
    from events
    inner join samples
        on events.run_key = samples.run_key and events.sample_id = samples.sample_id
),

choices as (
    select
        placed.run_key,
        placed.layer,
        placed.domain,
        placed.is_generated,
        cast(ranks.rank as smallint) as rank,
        placed.experts[ranks.rank] as expert,
        placed.weights[ranks.rank] as weight
    from placed
    cross join ranks
),

final as (
    select
        run_key,
        layer,
        domain,
        is_generated,
        rank,
        expert,
        count(*) as selections,
        cast(sum(cast(weight = 0 as integer)) as bigint) as dropped,
        sum(cast(weight as double)) as gate_mass
    from choices
    where expert is not null
    group by run_key, layer, domain, is_generated, rank, expert
)

select * from final
