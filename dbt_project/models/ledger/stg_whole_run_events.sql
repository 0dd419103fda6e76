with final as (
    {{ events_of_shards(
        'run_id in (select run_id from ' ~ ref('stg_new_runs') ~ ' where has_token_ids)'
        ~ ' and run_id not in (select run_id from ' ~ ref('stg_waiting_runs') ~ ')'
    ) }}
)

select * from final
