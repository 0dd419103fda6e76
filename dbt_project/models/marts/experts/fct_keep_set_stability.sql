with calibrated as (
    select * from {{ ref('int_calibrated_expert') }}
    where {{ of_new_runs('run_key') }}
),

domain_choices as (
    select * from {{ ref('int_domain_expert_choice') }}
    where {{ of_new_runs('run_key') }}
),

norms as (
    select * from {{ ref('int_output_norm') }}
    where {{ of_new_runs('run_key') }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

keep_shares as (
    select unnest(cast({{ var('keep_shares') }} as double[])) as keep_share
),

text_parts as (
    select listed.* from (
        values
        ('first 1/16', 'all', 0, {{ var('load_windows') }} // 16 - 1),
        ('first 1/8', 'all', 0, {{ var('load_windows') }} // 8 - 1),
        ('first 1/4', 'all', 0, {{ var('load_windows') }} // 4 - 1),
        ('first 1/2', 'all', 0, {{ var('load_windows') }} // 2 - 1),
        ('second 1/2', 'first 1/2', {{ var('load_windows') }} // 2, {{ var('load_windows') }} - 1),
        ('all', 'all', 0, {{ var('load_windows') }} - 1)
    ) as listed (part, reference, first_window, last_window)
),

windowed as (
    select
        run_key,
        layer,
        expert,
        unnest(windows) as counted
    from calibrated
),

text_counts as (
    select
        windowed.run_key,
        windowed.layer,
        windowed.expert,
        'text' as basis,
        text_parts.part,
        text_parts.reference,
        sum(windowed.counted.selections) as selections,
        sum(windowed.counted.gate_mass) as gate_mass
    from windowed
    inner join text_parts
        on
            windowed.counted.load_window between text_parts.first_window and text_parts.last_window
    group by
        windowed.run_key,
        windowed.layer,
        windowed.expert,
        text_parts.part,
        text_parts.reference
),

all_domain_counts as (
    select
        run_key,
        layer,
        expert,
        domain,
        sum(selections) as selections,
        sum(gate_mass) as gate_mass,
        sum(sum(selections)) over (partition by run_key, layer, domain)
        / sum(sum(selections)) over (partition by run_key, layer) as domain_share
    from domain_choices
    group by run_key, layer, expert, domain
),

domain_counts as (
    select
        run_key,
        layer,
        expert,
        'domain' as basis,
        domain as part,
        'all' as reference,
        selections,
        gate_mass
    from all_domain_counts
    where domain_share >= {{ var('keep_set_domain_share') }}
),

counts as (
    select * from text_counts
    union all by name
    select * from domain_counts
),

text_norms as (
    select
        norms.run_key,
        norms.layer,
        norms.expert,
        'text' as basis,
        text_parts.part,
        sum(norms.activations) as activations,
        sum(norms.norm_sum) as norm_sum,
        sum(norms.weighted_norm_sum) as weighted_norm_sum
    from norms
    inner join text_parts
        on norms.load_window between text_parts.first_window and text_parts.last_window
    group by norms.run_key, norms.layer, norms.expert, text_parts.part
),

domain_norms as (
    select
        run_key,
        layer,
        expert,
        'domain' as basis,
        domain as part,
        sum(activations) as activations,
        sum(norm_sum) as norm_sum,
        sum(weighted_norm_sum) as weighted_norm_sum
    from norms
    group by run_key, layer, expert, domain
),

sums_of_norms as (
    select * from text_norms
    union all by name
    select * from domain_norms
),

-- a part that has all of the text says nothing of less text
parts as (
    select
        run_key,
        layer,
        basis,
        part,
        reference,
        sum(selections) as selections
    from counts
    group by run_key, layer, basis, part, reference
    qualify
        part = 'all'
        or sum(selections)
        < max(sum(selections) filter (where part = 'all')) over (partition by run_key, layer)
),

-- every expert, also those that a part never selects
grid as (
    select
        parts.*,
        layers.run_id,
        layers.moe_index,
        layers.num_experts,
        layers.has_weights,
        layers.has_output_norms,
        unnest(range(layers.num_experts)) as expert
    from parts
    inner join runs on parts.run_key = runs.run_key
    inner join layers on runs.run_id = layers.run_id and parts.layer = layers.layer
),

all_measured as (
    select
        grid.*,
        unnest([
            struct_pack(
                measure := 'selections',
                is_known := true,
                value := coalesce(counts.selections, 0)
            ),
            struct_pack(
                measure := 'gate_mass',
                is_known := grid.has_weights,
                value := coalesce(counts.gate_mass, 0)
            ),
            struct_pack(
                measure := 'ean',
                is_known := grid.has_output_norms,
                value := coalesce(sums_of_norms.norm_sum, 0)
            ),
            struct_pack(
                measure := 'reap',
                is_known := grid.has_output_norms,
                value := sums_of_norms.weighted_norm_sum / sums_of_norms.activations
            )
        ]) as measured
    from grid
    left join counts
        on
            grid.run_key = counts.run_key
            and grid.layer = counts.layer
            and grid.basis = counts.basis
            and grid.part = counts.part
            and grid.expert = counts.expert
    left join sums_of_norms
        on
            grid.run_key = sums_of_norms.run_key
            and grid.layer = sums_of_norms.layer
            and grid.basis = sums_of_norms.basis
            and grid.part = sums_of_norms.part
            and grid.expert = sums_of_norms.expert
),

ranked as (
    select
        all_measured.* exclude (all_measured.measured),
        all_measured.measured.measure,
        row_number() over (
            partition by
                all_measured.run_id,
                all_measured.layer,
                all_measured.basis,
                all_measured.part,
                all_measured.measured.measure
            order by all_measured.measured.value desc nulls last, all_measured.expert asc
        ) as place
    from all_measured
    where all_measured.measured.is_known
),

compared as (
    select
        ranked.*,
        whole.place as whole_place
    from ranked
    inner join ranked as whole
        on
            ranked.run_id = whole.run_id
            and ranked.layer = whole.layer
            and ranked.measure = whole.measure
            and ranked.reference = whole.part
            and whole.basis = 'text'
            and ranked.expert = whole.expert
),

counted as (
    select
        compared.run_id,
        compared.layer,
        compared.measure,
        keep_shares.keep_share,
        compared.basis,
        compared.part,
        compared.reference,
        compared.moe_index,
        compared.num_experts,
        compared.selections,
        cast(ceil(keep_shares.keep_share * compared.num_experts) as integer) as kept_experts,
        count(*) filter (
            where greatest(compared.place, compared.whole_place)
            <= ceil(keep_shares.keep_share * compared.num_experts)
        ) as shared_experts
    from compared
    cross join keep_shares
    group by all
),

final as (
    select
        run_id,
        layer,
        measure,
        keep_share,
        basis,
        part,
        reference,
        moe_index,
        cast(selections as bigint) as selections,
        kept_experts,
        cast(shared_experts as integer) as shared_experts,
        shared_experts / (2 * kept_experts - shared_experts) as jaccard,
        shared_experts / kept_experts as overlap,
        kept_experts / num_experts as chance_overlap
    from counted
)

select * from final
