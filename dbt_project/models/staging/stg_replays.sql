{{ config(alias='replays') }}

with replays as (
    select * from {{ lake('replays') }}
),

contents as (
    {{ contents_of_runs() }}
),

finished_runs as (
    select run_id from {{ ref('stg_runs') }}
),

final as (
    select
        replays.run_id,
        replays.policy_id,
        replays.policy,
        replays.kind,
        replays.ids_only,
        replays.min_share,
        replays.min_frequency,
        replays.frequency_threshold,
        replays.entropy_threshold,
        replays.table_size,
        replays.weight_threshold,
        replays.ranked_by,
        replays.masked_experts,
        replays.routing_of,
        replays.moe_indices,
        replays.controls,
        replays.is_control,
        replays.run_sha256,
        replays.routing_of_sha256,
        replays.sample_id,
        replays.tokens,
        replays.nll,
        replays.untouched_nll,
        replays.kl,
        replays.same_top,
        replays.rows,
        replays.covered,
        replays.agreed,
        replays.undisturbed,
        replays.experts_run,
        replays.device,
        replays.versions,
        replays.landed_at
    from replays
    semi join finished_runs on replays.run_id = finished_runs.run_id
    inner join contents
        on replays.run_id = contents.run_id and replays.run_sha256 = contents.content_sha256
    left join contents as other_contents on replays.routing_of = other_contents.run_id
    where
        replays.routing_of is null
        or replays.routing_of_sha256 = other_contents.content_sha256
)

select * from final
