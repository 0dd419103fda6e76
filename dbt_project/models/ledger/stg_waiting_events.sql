with final as (
    {{ events_of_shards(
        'is_new and run_id in (select run_id from ' ~ ref('stg_waiting_runs') ~ ')'
    ) }}
)

select * from final
