with comparison as (
    select * from {{ ref('fct_run_comparison') }}
),

flips as (
    select * from {{ ref('fct_run_flip') }}
),

mismatch as (
    select * from {{ ref('fct_run_mismatch') }}
),

new_pairs as (
    select distinct
        run_id,
        other_run_id
    from {{ ref('int_compared_layer') }}
),

counted as (
    select
        run_id,
        other_run_id,
        layer,
        sum(tokens) as tokens,
        sum(set_flips) as set_flips,
        sum(top_flips) as top_flips
    from flips
    group by run_id, other_run_id, layer
),

layers as (
    select
        comparison.run_id,
        comparison.other_run_id,
        comparison.tokens = counted.tokens
        and abs(comparison.tokens * (1 - comparison.set_agreement) - counted.set_flips) < 0.5
        and (comparison.top_agreement is null) = (counted.top_flips is null)
        and coalesce(
            abs(comparison.tokens * (1 - comparison.top_agreement) - counted.top_flips) < 0.5, true
        ) as is_counted,
        counted.tokens,
        counted.set_flips
    from comparison
    semi join new_pairs using (run_id, other_run_id)
    left join counted using (run_id, other_run_id, layer)
),

pairs as (
    select
        run_id,
        other_run_id,
        count(*) as layers,
        max(tokens) as tokens,
        sum(set_flips) as set_flips,
        max(set_flips) as most_flips,
        bool_and(coalesce(is_counted, false)) as is_counted
    from layers
    group by run_id, other_run_id
),

final as (
    select
        pairs.run_id,
        pairs.other_run_id,
        pairs.is_counted,
        pairs.set_flips,
        mismatch.flipped_tokens
    from pairs
    left join mismatch using (run_id, other_run_id)
    where
        (
            pairs.is_counted
            and mismatch.layers = pairs.layers
            and mismatch.tokens = pairs.tokens
            and mismatch.flipped_tokens between pairs.most_flips and pairs.set_flips
            and abs(mismatch.mean_flipped_layers * mismatch.tokens - pairs.set_flips) < 0.5
        ) is not true
)

select * from final
