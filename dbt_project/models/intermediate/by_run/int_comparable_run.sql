-- At least one of the two is new.
{{ config(materialized='table') }}

with runs as (
    select * from {{ ref('stg_runs') }}
    where has_token_ids
),

layers as (
    select * from {{ ref('stg_layers') }}
),

pairs as (
    select
        runs.run_id,
        runs.run_key,
        other_runs.run_id as other_run_id,
        other_runs.run_key as other_run_key,
        runs.source <> 'capture'
        or other_runs.source <> 'capture'
        -- of one prompt two runs may have made two texts
        or coalesce(runs.generate, 0) > 0
        or coalesce(other_runs.generate, 0) > 0 as is_traced,
        runs.tokenizer_fingerprint = other_runs.tokenizer_fingerprint as is_tokenizer_equal,
        'none' in (runs.tokenizer_fingerprint, other_runs.tokenizer_fingerprint)
            as is_tokenizer_unknown
    from runs
    inner join runs as other_runs
        on
            (runs.started_at, runs.run_id) < (other_runs.started_at, other_runs.run_id)
            and (runs.is_new or other_runs.is_new)
),

unsure_runs as (
    select unnest([run_id, other_run_id]) as run_id
    from pairs
    where is_traced and is_tokenizer_unknown
),

routers as (
    select
        layers.run_id,
        list((layers.moe_index, layers.num_experts, layers.top_k) order by layers.moe_index)
            as routers
    from layers
    semi join unsure_runs on layers.run_id = unsure_runs.run_id
    group by layers.run_id
),

final as (
    select
        pairs.run_id,
        pairs.run_key,
        pairs.other_run_id,
        pairs.other_run_key,
        pairs.is_traced
    from pairs
    left join routers on pairs.run_id = routers.run_id
    left join routers as other_routers on pairs.other_run_id = other_routers.run_id
    where
        case
            when pairs.is_traced and pairs.is_tokenizer_unknown
                then routers.routers = other_routers.routers
            else pairs.is_tokenizer_equal
        end
)

select * from final
