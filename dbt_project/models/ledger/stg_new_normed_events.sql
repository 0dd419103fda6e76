with final as (
    {{ events_of_shards(
        'run_id in (select run_id from ' ~ ref('stg_new_runs') ~ ')'
        ~ ' and run_id in (select run_id from ' ~ ref('stg_new_layers')
        ~ ' where has_output_norms)',
        with_norms=true
    ) }}
)

select * from final
