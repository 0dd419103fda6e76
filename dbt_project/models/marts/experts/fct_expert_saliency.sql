with expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs() }}
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
    where {{ of_new_runs() }}
),

summed_norms as (
    select
        runs.run_id,
        norms.layer,
        norms.expert,
        sum(norms.activations) as activations,
        sum(norms.norm_sum) as norm_sum,
        sum(norms.weighted_norm_sum) as weighted_norm_sum,
        max(norms.max_weight) as max_weight,
        max(norms.max_output_norm) as max_output_norm
    from norms
    inner join runs on norms.run_key = runs.run_key
    group by runs.run_id, norms.layer, norms.expert
),

measured as (
    select
        expert_load.run_id,
        expert_load.layer,
        expert_load.expert,
        expert_load.moe_index,
        expert_load.selections,
        expert_load.load,
        expert_load.gate_mass,
        expert_load.gate_mass / nullif(expert_load.load, 0) as mean_weight,
        summed_norms.max_weight,
        summed_norms.norm_sum / summed_norms.activations as mean_output_norm,
        summed_norms.max_output_norm,
        case when layers.has_output_norms then coalesce(summed_norms.norm_sum, 0) end as ean,
        summed_norms.weighted_norm_sum / summed_norms.activations as reap,
        layers.has_weights,
        layers.has_output_norms
    from expert_load
    inner join layers
        on expert_load.run_id = layers.run_id and expert_load.layer = layers.layer
    left join summed_norms
        on
            expert_load.run_id = summed_norms.run_id
            and expert_load.layer = summed_norms.layer
            and expert_load.expert = summed_norms.expert
),

ranked as (
    select
        *,
        {{ saliency_rank('selections') }} as selections_rank,
        {{ saliency_rank('gate_mass') }} as gate_mass_rank,
        {{ saliency_rank('mean_output_norm') }} as mean_output_norm_rank,
        {{ saliency_rank('ean') }} as ean_rank,
        {{ saliency_rank('reap') }} as reap_rank
    from measured
),

final as (
    select
        run_id,
        layer,
        expert,
        moe_index,
        selections,
        load,
        gate_mass,
        mean_weight,
        max_weight,
        mean_output_norm,
        max_output_norm,
        ean,
        reap,
        selections_rank,
        case when has_weights then gate_mass_rank end as gate_mass_rank,
        case when has_output_norms then mean_output_norm_rank end as mean_output_norm_rank,
        case when has_output_norms then ean_rank end as ean_rank,
        case when has_output_norms then reap_rank end as reap_rank
    from ranked
)

select * from final
