with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

context as (
    select * from {{ ref('fct_context_information') }}
),

final as (
    select
        context.layer,
        context.bigrams,
        round(context.covered_share, 4) as covered_share,
        round(context.entropy_given_token, 4) as entropy_given_token,
        round(context.entropy_given_bigram, 4) as entropy_given_bigram,
        round(context.information_gain, 4) as information_gain,
        round(context.plug_in_information_gain, 4) as uncorrected_gain
    from context
    inner join latest_run on context.run_id = latest_run.run_id
)

select * from final
order by layer
