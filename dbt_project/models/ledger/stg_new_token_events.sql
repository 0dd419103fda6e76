with final as (
    {{ events_of_shards(
        'run_id in (select run_id from ' ~ ref('stg_new_runs') ~ ' where has_token_ids)'
    ) }}
)

select * from final
