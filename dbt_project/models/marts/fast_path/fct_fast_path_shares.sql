with scores as (
    select * from {{ ref('int_fast_path_score') }}
    where {{ of_new_runs('run_key') }}
),

lookup_table as (
    select * from {{ ref('int_fast_path_table') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
    where has_token_ids
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs() }}
),

min_shares as (
    select unnest(cast({{ var('min_shares') }} as double[])) as min_share
),

min_frequencies as (
    select unnest(cast({{ var('min_frequencies') }} as bigint[])) as min_frequency
),

strictest as (
    select
        lookup_table.run_key,
        lookup_table.layer,
        lookup_table.token_id,
        min_shares.min_share,
        min_frequencies.min_frequency
    from lookup_table
    asof join min_shares on lookup_table.set_share >= min_shares.min_share
    asof join min_frequencies on lookup_table.train_frequency >= min_frequencies.min_frequency
),

counted as (
    select
        strictest.run_key,
        strictest.layer,
        strictest.min_share,
        strictest.min_frequency,
        count(*) as table_tokens,
        sum(scores.occurrences) as occurrences,
        {{ lookup_table_sums('scores') }}
    from strictest
    left join scores
        on
            strictest.run_key = scores.run_key
            and strictest.layer = scores.layer
            and strictest.token_id = scores.token_id
    group by
        strictest.run_key,
        strictest.layer,
        strictest.min_share,
        strictest.min_frequency
),

totals as (
    {{ held_out_totals() }}
),

grid as (
    select
        runs.run_id,
        runs.run_key,
        layers.layer,
        layers.moe_index,
        min_shares.min_share,
        min_frequencies.min_frequency
    from layers
    inner join runs on layers.run_id = runs.run_id
    cross join min_shares
    cross join min_frequencies
),

covered as (
    select
        grid.*,
        coalesce(sum(counted.table_tokens), 0) as table_tokens,
        coalesce(sum(counted.occurrences), 0) as covered_occurrences,
        {{ lookup_table_sums('counted') }}
    from grid
    left join counted
        on
            grid.run_key = counted.run_key
            and grid.layer = counted.layer
            and grid.min_share <= counted.min_share
            and grid.min_frequency <= counted.min_frequency
    group by all
),

final as (
    select
        covered.run_id,
        covered.layer,
        covered.min_share,
        covered.min_frequency,
        covered.moe_index,
        cast(covered.table_tokens as bigint) as table_tokens,
        cast(coalesce(totals.held_out_occurrences, 0) as bigint) as held_out_occurrences,
        cast(covered.covered_occurrences as bigint) as covered_occurrences,
        {{ lookup_table_measures('totals.held_out_occurrences') }}
    from covered
    left join totals on covered.run_key = totals.run_key and covered.layer = totals.layer
)

select * from final
