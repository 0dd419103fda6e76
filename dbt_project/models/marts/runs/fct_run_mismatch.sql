{{ config(pre_hook="{{ forget_rebuilt_runs('other_run_id') }}") }}

with pairs as (
    select * from {{ ref('int_run_pair') }}
),

layers as (
    select * from {{ ref('int_compared_layer') }}
),

flipped_events as (
    select * from {{ ref('int_flipped_event') }}
    where is_set_flip
),

compared as (
    select
        run_id,
        run_key,
        other_run_id,
        other_run_key,
        count(*) as layers
    from layers
    group by run_id, run_key, other_run_id, other_run_key
),

texts as (
    select
        run_key,
        other_run_key,
        cast(sum(tokens) as bigint) as tokens
    from pairs
    group by run_key, other_run_key
),

flipped_tokens as (
    select
        run_key,
        other_run_key,
        count(*) as flipped_layers
    from flipped_events
    group by run_key, other_run_key, sample_id, position
),

flips as (
    select
        run_key,
        other_run_key,
        count(*) as flipped_tokens,
        sum(flipped_layers) as flipped_layers
    from flipped_tokens
    group by run_key, other_run_key
),

final as (
    select
        compared.run_id,
        compared.other_run_id,
        compared.layers,
        texts.tokens,
        coalesce(flips.flipped_tokens, 0) as flipped_tokens,
        coalesce(flips.flipped_tokens, 0) / texts.tokens as flipped_token_share,
        coalesce(flips.flipped_layers, 0) / texts.tokens as mean_flipped_layers
    from compared
    inner join texts
        on
            compared.run_key = texts.run_key
            and compared.other_run_key = texts.other_run_key
    left join flips
        on
            compared.run_key = flips.run_key
            and compared.other_run_key = flips.other_run_key
)

select * from final
