with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

caches as (
    select * from {{ ref('fct_expert_cache') }}
),

final as (
    select
        caches.phase,
        caches.slots,
        round(avg(caches.chance_hit_rate), 3) as chance,
        round(
            sum(caches.hits) filter (where caches.policy = 'lru')
            / sum(caches.accesses) filter (where caches.policy = 'lru'),
            3
        ) as lru,
        round(
            sum(caches.hits) filter (where caches.policy = 'lfu')
            / sum(caches.accesses) filter (where caches.policy = 'lfu'),
            3
        ) as lfu,
        round(
            sum(caches.hits) filter (where caches.policy = 'static_train')
            / sum(caches.accesses) filter (where caches.policy = 'static_train'),
            3
        ) as static_train,
        round(
            sum(caches.hits) filter (where caches.policy = 'static_prompt')
            / sum(caches.accesses) filter (where caches.policy = 'static_prompt'),
            3
        ) as static_prompt,
        round(
            sum(caches.hits) filter (where caches.policy = 'belady')
            / sum(caches.accesses) filter (where caches.policy = 'belady'),
            3
        ) as belady
    from caches
    inner join latest_run on caches.run_id = latest_run.run_id
    group by caches.phase, caches.slots
)

select * from final
order by phase desc, slots asc
