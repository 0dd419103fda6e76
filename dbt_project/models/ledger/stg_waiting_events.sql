with final as (
    {{ events_of_shards(
        'is_new and run_id in (select run_id from ' ~ ref('stg_new_layers')
        ~ ' where is_waiting and has_token_ids)'
    ) }}
)

select * from final
