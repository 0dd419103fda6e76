with events as (
    select * from {{ ref('int_simulated_event') }}
    where layer = {{ this_layer() }}
),

all_layers as (
    select * from {{ ref('int_simulated_event') }}
),

horizons as (
    select unnest([1, 2, 4, 8]) as horizon
),

keyed as (
    select
        events.*,
        cast(events.token_id as bigint) as token_key,
        -- two ids in one number
        coalesce(
            lag(events.token_id) over (
                partition by events.run_key, events.is_learned, events.sample_id
                order by events.position
            ),
            -1
        ) * 4294967296 + events.token_id as bigram_key,
        earlier.experts as experts_before
    from events
    left join all_layers as earlier
        on
            events.run_key = earlier.run_key
            and events.stack = earlier.stack
            and events.moe_index = earlier.moe_index + 1
            and events.is_learned = earlier.is_learned
            and events.sample_id = earlier.sample_id
            and events.position = earlier.position
),

streams as (
    select
        run_key,
        layer,
        num_experts,
        has_token_ids,
        is_learned,
        list(is_generated order by sample_id, position) as are_generated,
        list(position order by sample_id, position) as positions,
        list(experts order by sample_id, position) as experts,
        list(token_key order by sample_id, position) as token_keys,
        list(bigram_key order by sample_id, position) as bigram_keys,
        list(experts_before order by sample_id, position) as experts_before
    from keyed
    group by run_key, layer, num_experts, has_token_ids, is_learned
),

asked as (
    select * from streams
    where not is_learned
),

learned as (
    select * from streams
    where is_learned
),

predicted as (
    select
        asked.*,
        'previous_token' as predictor,
        horizons.horizon,
        ranks_of_same_again(
            asked.experts, asked.positions, horizons.horizon, asked.num_experts
        ) as ranks
    from asked
    cross join horizons
    union all by name
    select
        asked.*,
        'layer_before' as predictor,
        1 as horizon,
        ranks_by_layer_before(
            learned.experts,
            asked.experts,
            learned.experts_before,
            asked.experts_before,
            asked.num_experts
        ) as ranks
    from asked
    inner join learned on asked.run_key = learned.run_key
    -- the first layer has none before it
    where
        list_count(asked.experts_before) = len(asked.experts_before)
        and list_count(learned.experts_before) = len(learned.experts_before)
    union all by name
    select
        asked.*,
        'token' as predictor,
        0 as horizon,
        ranks_by_keys(
            learned.experts,
            asked.experts,
            [learned.token_keys],
            [asked.token_keys],
            asked.num_experts
        ) as ranks
    from asked
    inner join learned on asked.run_key = learned.run_key
    where asked.has_token_ids
    union all by name
    select
        asked.*,
        'bigram' as predictor,
        0 as horizon,
        ranks_by_keys(
            learned.experts,
            asked.experts,
            [learned.bigram_keys, learned.token_keys],
            [asked.bigram_keys, asked.token_keys],
            asked.num_experts
        ) as ranks
    from asked
    inner join learned on asked.run_key = learned.run_key
    where asked.has_token_ids
),

ranked as (
    select
        run_key,
        layer,
        predictor,
        horizon,
        unnest(are_generated) as is_generated,
        unnest(ranks) as ranks
    from predicted
),

found as (
    select
        * exclude (ranks),
        unnest(ranks) as rank
    from ranked
),

final as (
    select
        run_key,
        layer,
        predictor,
        cast(horizon as smallint) as horizon,
        is_generated,
        rank,
        count(*) as accesses
    from found
    group by run_key, layer, predictor, horizon, is_generated, rank
)

select * from final
