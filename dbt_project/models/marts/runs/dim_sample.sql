with samples as (
    select * from {{ ref('stg_samples') }}
    where {{ of_new_runs() }}
),

blocks as (
    select * from {{ ref('int_sample_block') }}
),

final as (
    select
        samples.run_id,
        samples.sample_id,
        samples.name,
        samples.domain,
        samples.document,
        samples.split,
        samples.tokens,
        samples.dropped_tokens,
        samples.text_sha256,
        samples.document_sha256,
        samples.prompt_tokens,
        samples.turns,
        blocks.block
    from samples
    left join blocks
        on samples.run_id = blocks.run_id and samples.sample_id = blocks.sample_id
)

select * from final
