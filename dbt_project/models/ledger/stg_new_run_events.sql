with final as (
    {{ events_of_shards(of_new_runs()) }}
)

select * from final
