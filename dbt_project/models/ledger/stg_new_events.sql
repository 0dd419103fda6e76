with final as (
    {{ events_of_shards('is_new') }}
)

select * from final
