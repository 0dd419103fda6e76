with replays as (
    select * from {{ ref('stg_replays') }}
    where {{ of_new_replays() }}
),

layers as (
    select
        *,
        {{ run_key('run_id') }} as run_key
    from {{ ref('dim_layer') }}
    where {{ of_new_replays() }}
),

lookup_table as (
    select * from {{ ref('int_fast_path_table') }}
    where run_key in (select layers.run_key from layers)
),

scores as (
    select * from {{ ref('int_fast_path_score') }}
    where run_key in (select layers.run_key from layers)
),

-- the lists have the layers in the order of moe_index
of_layers as (
    select
        run_id,
        policy_id,
        rows,
        unnest(range(len(covered))) as moe_index,
        unnest(covered) as covered,
        unnest(agreed) as agreed,
        unnest(undisturbed) as undisturbed,
        unnest(experts_run) as experts_run
    from replays
),

measured as (
    select
        run_id,
        policy_id,
        moe_index,
        cast(sum(rows) as bigint) as rows,
        cast(sum(covered) as bigint) as covered,
        cast(sum(agreed) as bigint) as agreed,
        sum(undisturbed) as undisturbed,
        sum(experts_run) as experts_run
    from of_layers
    group by run_id, policy_id, moe_index
),

rules as (
    select distinct
        run_id,
        policy_id,
        min_share,
        min_frequency,
        frequency_threshold,
        entropy_threshold,
        table_size,
        moe_indices
    from replays
    where kind = 'tokens'
),

rules_of_layers as (
    select
        rules.*,
        layers.run_key,
        layers.layer,
        rules.entropy_threshold is null or layers.has_distribution as is_known,
        rules.moe_indices is null or list_contains(rules.moe_indices, layers.moe_index)
            as is_overruled
    from rules
    inner join layers on rules.run_id = layers.run_id
),

tables as (
    select
        rules_of_layers.run_key,
        rules_of_layers.policy_id,
        rules_of_layers.layer,
        lookup_table.token_id
    from rules_of_layers
    inner join lookup_table
        on
            rules_of_layers.run_key = lookup_table.run_key
            and rules_of_layers.layer = lookup_table.layer
    where
        rules_of_layers.is_overruled
        and lookup_table.set_share >= coalesce(rules_of_layers.min_share, 0)
        and lookup_table.train_frequency >= coalesce(rules_of_layers.min_frequency, 0)
        and lookup_table.train_frequency > coalesce(rules_of_layers.frequency_threshold, 0)
        and (
            rules_of_layers.entropy_threshold is null
            or lookup_table.train_mean_entropy < rules_of_layers.entropy_threshold
        )
        and (
            rules_of_layers.table_size is null
            or lookup_table.frequency_rank <= rules_of_layers.table_size
        )
),

counted as (
    select
        tables.run_key,
        tables.policy_id,
        tables.layer,
        sum(scores.occurrences) as occurrences,
        sum(scores.set_agreements) as set_agreements
    from tables
    inner join scores
        on
            tables.run_key = scores.run_key
            and tables.layer = scores.layer
            and tables.token_id = scores.token_id
    group by tables.run_key, tables.policy_id, tables.layer
),

totals as (
    {{ held_out_totals() }}
),

predicted as (
    select
        rules_of_layers.run_id,
        rules_of_layers.policy_id,
        rules_of_layers.layer,
        totals.held_out_occurrences,
        counted.set_agreements,
        cast(coalesce(counted.occurrences, 0) as bigint) as occurrences
    from rules_of_layers
    inner join totals
        on rules_of_layers.run_key = totals.run_key and rules_of_layers.layer = totals.layer
    left join counted
        on
            rules_of_layers.run_key = counted.run_key
            and rules_of_layers.policy_id = counted.policy_id
            and rules_of_layers.layer = counted.layer
    where rules_of_layers.is_known or not rules_of_layers.is_overruled
),

final as (
    select
        measured.run_id,
        measured.policy_id,
        layers.layer,
        cast(measured.moe_index as smallint) as moe_index,
        measured.rows,
        measured.covered,
        measured.agreed,
        measured.covered / nullif(measured.rows, 0) as coverage,
        measured.agreed / nullif(measured.covered, 0) as set_agreement,
        measured.undisturbed / nullif(measured.rows, 0) as undisturbed_share,
        measured.experts_run / nullif(measured.rows, 0) as experts_per_token,
        predicted.occurrences as predicted_occurrences,
        predicted.occurrences / predicted.held_out_occurrences as predicted_coverage,
        predicted.set_agreements / predicted.occurrences as predicted_agreement
    from measured
    left join layers
        on measured.run_id = layers.run_id and measured.moe_index = layers.moe_index
    left join predicted
        on
            measured.run_id = predicted.run_id
            and measured.policy_id = predicted.policy_id
            and layers.layer = predicted.layer
)

select * from final
