-- each use reads a few of the columns; kept in memory for all of them, a layer takes much
with events as not materialized (
    select * from {{ ref('stg_new_run_events') }}
    where layer = {{ this_layer() }}
),

ranks as (
    {{ ranks() }}
),

samples as (
    select * from {{ ref('int_sample_block') }}
),

chosen as (
    {{ chosen_samples() }}
),

-- a confidence of float32 in the upper bits; below it, earlier positions are larger
most_confident as (
    select
        run_key,
        layer,
        top_expert as expert,
        sample_id,
        max(
            (cast(round(confidence * 16777216) as ubigint) << 32)
            | (4294967295 - cast(position as ubigint))
        ) as best
    from events
    where top_expert is not null and confidence is not null and token_id is not null
    group by run_key, layer, top_expert, sample_id
),

kept as (
    select
        run_key,
        layer,
        expert,
        sample_id,
        4294967295 - cast(best & 4294967295 as bigint) as best_position,
        row_number() over (
            partition by run_key, layer, expert
            order by best >> 32 desc, sample_id asc
        ) as place
    from most_confident
    qualify place <= {{ var('card_contexts') }}
),

windows as (
    select
        kept.run_key,
        kept.layer,
        kept.expert,
        kept.place,
        kept.sample_id,
        kept.best_position,
        any_value(events.confidence) filter (where events.position = kept.best_position)
            as confidence,
        list(events.token_id order by events.position) as token_ids,
        kept.best_position - min(events.position) as tokens_before
    from kept
    inner join events
        on
            kept.run_key = events.run_key
            and kept.sample_id = events.sample_id
            and events.position
            between kept.best_position - {{ var('card_context_tokens') }}
            and kept.best_position + {{ var('card_context_tokens') }}
    group by
        kept.run_key,
        kept.layer,
        kept.expert,
        kept.place,
        kept.sample_id,
        kept.best_position
),

contexts as (
    select
        run_key,
        layer,
        expert,
        list(
            struct_pack(
                sample_id := sample_id,
                position := best_position,
                confidence := confidence,
                token_ids := token_ids,
                tokens_before := cast(tokens_before as integer)
            )
            order by place
        ) as contexts
    from windows
    group by run_key, layer, expert
),

halved_events as (
    select
        events.run_key,
        events.layer,
        events.token_id,
        events.experts,
        samples.block % 2 = 0 as is_first_half
    from events
    inner join chosen
        on events.run_key = chosen.run_key and events.sample_id = chosen.sample_id
    inner join samples
        on events.run_key = samples.run_key and events.sample_id = samples.sample_id
    where events.token_id is not null
),

-- tokens that both halves have often enough for a share
told_tokens as (
    select
        run_key,
        layer,
        token_id,
        count(*) filter (where is_first_half) as first_frequency,
        count(*) filter (where not is_first_half) as second_frequency
    from halved_events
    group by run_key, layer, token_id
    having
        count(*) filter (where is_first_half) >= {{ var('card_frequency') }}
        and count(*) filter (where not is_first_half) >= {{ var('card_frequency') }}
),

halved_choices as (
    select
        halved_events.run_key,
        halved_events.layer,
        halved_events.token_id,
        halved_events.is_first_half,
        halved_events.experts[ranks.rank] as expert
    from halved_events
    cross join ranks
),

token_counts as (
    select
        run_key,
        layer,
        token_id,
        expert,
        count(*) filter (where is_first_half) as first_selections,
        count(*) filter (where not is_first_half) as second_selections
    from halved_choices
    where expert is not null
    group by run_key, layer, token_id, expert
),

token_shares as (
    select
        token_counts.run_key,
        token_counts.layer,
        token_counts.expert,
        token_counts.first_selections / told_tokens.first_frequency as first_share,
        token_counts.second_selections / told_tokens.second_frequency as second_share
    from token_counts
    inner join told_tokens
        on
            token_counts.run_key = told_tokens.run_key
            and token_counts.layer = told_tokens.layer
            and token_counts.token_id = told_tokens.token_id
),

numbers_of_tokens as (
    select
        run_key,
        layer,
        count(*) as tokens
    from told_tokens
    group by run_key, layer
),

-- a token that never selects the expert has no row, and adds nothing to a sum
sums_of_shares as (
    select
        run_key,
        layer,
        expert,
        sum(first_share) as first_sum,
        sum(second_share) as second_sum,
        sum(first_share * first_share) as first_squares,
        sum(second_share * second_share) as second_squares,
        sum(first_share * second_share) as products
    from token_shares
    group by run_key, layer, expert
),

halves as (
    select
        sums_of_shares.run_key,
        sums_of_shares.layer,
        sums_of_shares.expert,
        numbers_of_tokens.tokens as half_tokens,
        sums_of_shares.products
        - sums_of_shares.first_sum * sums_of_shares.second_sum / numbers_of_tokens.tokens
            as covariation,
        sums_of_shares.first_squares
        - sums_of_shares.first_sum * sums_of_shares.first_sum / numbers_of_tokens.tokens
            as first_variation,
        sums_of_shares.second_squares
        - sums_of_shares.second_sum * sums_of_shares.second_sum / numbers_of_tokens.tokens
            as second_variation
    from sums_of_shares
    inner join numbers_of_tokens
        on
            sums_of_shares.run_key = numbers_of_tokens.run_key
            and sums_of_shares.layer = numbers_of_tokens.layer
),

final as (
    select
        coalesce(contexts.run_key, halves.run_key) as run_key,
        coalesce(contexts.layer, halves.layer) as layer,
        coalesce(contexts.expert, halves.expert) as expert,
        contexts.contexts,
        halves.half_tokens,
        -- rounding leaves a little where there is no variation
        case
            when
                halves.half_tokens >= 3
                and least(halves.first_variation, halves.second_variation) > 1e-9
                then greatest(
                    -1,
                    least(
                        1,
                        halves.covariation
                        / sqrt(halves.first_variation * halves.second_variation)
                    )
                )
        end as half_correlation
    from contexts
    full join halves
        on
            contexts.run_key = halves.run_key
            and contexts.layer = halves.layer
            and contexts.expert = halves.expert
)

select * from final
