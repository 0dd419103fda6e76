{{ config(pre_hook="{{ forget_moved_runs() }}") }}

with runs as (
    {{ runs_in_series() }}
),

layers as (
    select * from {{ ref('fct_layer_routing') }}
),

token_consistency as (
    select * from {{ ref('fct_token_consistency') }}
),

saliency as (
    select * from {{ ref('fct_expert_saliency') }}
),

-- the pre-hook has deleted what the other rows of this table no longer say
missing_runs as (
    select * from runs
    where {{ of_missing_runs() }}
),

scored_tokens as (
    select token_consistency.*
    from token_consistency
    semi join missing_runs on token_consistency.run_id = missing_runs.run_id
    where token_consistency.held_out_top_agreements is not null
),

consistency as (
    select
        run_id,
        layer,
        sum(held_out_top_agreements) / nullif(sum(held_out_occurrences), 0)
            as held_out_consistency
    from scored_tokens
    group by run_id, layer
),

needed_runs as (
    select run_id from missing_runs
    union
    select previous_run_id from missing_runs
    union
    select first_run_id from missing_runs
),

experts as (
    select
        saliency.run_id,
        saliency.moe_index,
        layers.num_experts,
        saliency.expert,
        saliency.load
        / sum(saliency.load) over (partition by saliency.run_id, saliency.moe_index) as load_share,
        saliency.selections_rank <= ceil(layers.num_experts / 2) as is_kept
    from saliency
    inner join layers on saliency.run_id = layers.run_id and saliency.layer = layers.layer
    semi join needed_runs on saliency.run_id = needed_runs.run_id
),

references_of_runs as (
    select
        run_id,
        unnest([previous_run_id, first_run_id]) as reference_run_id,
        unnest([true, false]) as is_previous
    from missing_runs
    where previous_run_id is not null
),

drifts as (
    select
        references_of_runs.run_id,
        experts.moe_index,
        references_of_runs.is_previous,
        1 - sum(abs(experts.load_share - reference_experts.load_share)) / 2 as shared_load,
        count(*) filter (where experts.is_kept and reference_experts.is_kept)
        / count(*) filter (where experts.is_kept) as keep_set_overlap
    from references_of_runs
    inner join experts on references_of_runs.run_id = experts.run_id
    inner join experts as reference_experts
        on
            references_of_runs.reference_run_id = reference_experts.run_id
            and experts.moe_index = reference_experts.moe_index
            and experts.num_experts = reference_experts.num_experts
            and experts.expert = reference_experts.expert
    group by references_of_runs.run_id, experts.moe_index, references_of_runs.is_previous
),

final as (
    select
        missing_runs.run_id,
        layers.layer,
        layers.moe_index,
        missing_runs.series,
        missing_runs.started_at,
        missing_runs.previous_run_id,
        missing_runs.first_run_id,
        layers.num_experts,
        layers.events,
        layers.mean_entropy,
        layers.normalised_entropy,
        consistency.held_out_consistency,
        layers.max_load_ratio,
        layers.dead_experts,
        cast(ceil(layers.num_experts / 2) as integer) as kept_experts,
        since_previous.shared_load as shared_load_with_previous,
        since_first.shared_load as shared_load_with_first,
        since_previous.keep_set_overlap as keep_set_overlap_with_previous,
        since_first.keep_set_overlap as keep_set_overlap_with_first
    from missing_runs
    inner join layers on missing_runs.run_id = layers.run_id
    left join consistency
        on layers.run_id = consistency.run_id and layers.layer = consistency.layer
    left join drifts as since_previous
        on
            layers.run_id = since_previous.run_id
            and layers.moe_index = since_previous.moe_index
            and since_previous.is_previous
    left join drifts as since_first
        on
            layers.run_id = since_first.run_id
            and layers.moe_index = since_first.moe_index
            and not since_first.is_previous
)

select * from final
