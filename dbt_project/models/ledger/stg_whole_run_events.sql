with final as (
    {{ events_of_shards(
        of_new_runs()
        ~ ' and run_id not in (select run_id from ' ~ ref('stg_waiting_runs') ~ ')'
    ) }}
)

select * from final
