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

table_sizes as (
    select unnest(cast({{ var('table_sizes') }} as bigint[])) as table_size
),

-- the smallest table that holds the token
sized as (
    select
        lookup_table.run_key,
        lookup_table.layer,
        lookup_table.token_id,
        table_sizes.table_size
    from lookup_table
    asof join table_sizes on lookup_table.frequency_rank <= table_sizes.table_size
),

scores_by_size as (
    select
        scores.run_key,
        scores.layer,
        sized.table_size,
        sum(scores.occurrences) as occurrences,
        {{ lookup_table_sums('scores') }}
    from scores
    inner join sized
        on
            scores.run_key = sized.run_key
            and scores.layer = sized.layer
            and scores.token_id = sized.token_id
    group by scores.run_key, scores.layer, sized.table_size
),

tables as (
    select
        run_key,
        layer,
        count(*) as train_token_types
    from lookup_table
    group by run_key, layer
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
        table_sizes.table_size
    from layers
    inner join runs on layers.run_id = runs.run_id
    cross join table_sizes
),

covered as (
    select
        grid.run_id,
        grid.run_key,
        grid.layer,
        grid.table_size,
        grid.moe_index,
        coalesce(sum(scores_by_size.occurrences), 0) as covered_occurrences,
        {{ lookup_table_sums('scores_by_size') }}
    from grid
    left join scores_by_size
        on
            grid.run_key = scores_by_size.run_key
            and grid.layer = scores_by_size.layer
            and grid.table_size >= scores_by_size.table_size
    group by grid.run_id, grid.run_key, grid.layer, grid.table_size, grid.moe_index
),

final as (
    select
        covered.run_id,
        covered.layer,
        covered.table_size,
        covered.moe_index,
        cast(least(covered.table_size, coalesce(tables.train_token_types, 0)) as bigint)
            as table_tokens,
        cast(coalesce(totals.held_out_occurrences, 0) as bigint) as held_out_occurrences,
        cast(covered.covered_occurrences as bigint) as covered_occurrences,
        {{ lookup_table_measures('totals.held_out_occurrences') }}
    from covered
    left join tables on covered.run_key = tables.run_key and covered.layer = tables.layer
    left join totals on covered.run_key = totals.run_key and covered.layer = totals.layer
)

select * from final
