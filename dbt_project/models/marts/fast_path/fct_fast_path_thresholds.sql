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
    where {{ of_new_runs() }} and has_distribution
),

{{ threshold_grids() }},

-- as in fct_fast_path_coverage
strictest as (
    select
        lookup_table.run_key,
        lookup_table.layer,
        lookup_table.token_id,
        frequency_thresholds.frequency_threshold,
        entropy_thresholds.entropy_threshold
    from lookup_table
    asof join frequency_thresholds
        on lookup_table.train_frequency > frequency_thresholds.frequency_threshold
    asof join entropy_thresholds
        on lookup_table.train_mean_entropy < entropy_thresholds.entropy_threshold
),

counted as (
    select
        strictest.run_key,
        strictest.layer,
        strictest.frequency_threshold,
        strictest.entropy_threshold,
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
        strictest.frequency_threshold,
        strictest.entropy_threshold
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
        frequency_thresholds.frequency_threshold,
        entropy_thresholds.entropy_threshold
    from layers
    inner join runs on layers.run_id = runs.run_id
    cross join frequency_thresholds
    inner join entropy_thresholds on {{ is_in_grid('layers.num_experts') }}
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
            and grid.frequency_threshold <= counted.frequency_threshold
            and grid.entropy_threshold >= counted.entropy_threshold
    group by all
),

final as (
    select
        covered.run_id,
        covered.layer,
        covered.frequency_threshold,
        covered.entropy_threshold,
        covered.moe_index,
        cast(covered.table_tokens as bigint) as table_tokens,
        cast(coalesce(totals.held_out_occurrences, 0) as bigint) as held_out_occurrences,
        cast(covered.covered_occurrences as bigint) as covered_occurrences,
        {{ lookup_table_measures('totals.held_out_occurrences') }}
    from covered
    left join totals on covered.run_key = totals.run_key and covered.layer = totals.layer
)

select * from final
