{# What each run holds now, as replays name it: the SHA-256 of its shards' hashes in their order, as
   content_hash in gatehouse/warehouse/replays.py gives it. #}
{% macro contents_of_runs() -%}
    select
        run_id,
        sha256(string_agg(events_sha256, '' order by shard)) as content_sha256
    from {{ lake('shards') }}
    group by run_id
{%- endmacro %}

{# Pre-hook of the marts of replays: keep only the rows of runs whose replays this build does not
   count again. #}
{% macro forget_changed_replays() -%}
    {%- set parts = ref('stg_replay_parts') -%}
    {%- set previous = load_relation(this) -%}
    {%- if previous and previous.is_table -%}
        delete from {{ this }}
        where run_id not in (select run_id from {{ parts }} where not is_new)
    {%- endif -%}
{%- endmacro %}

{# Condition on the rows of the runs whose replays this build counts. #}
{% macro of_new_replays() -%}
    run_id in (select run_id from {{ ref('stg_replay_parts') }} where is_new)
{%- endmacro %}
