{# A build adds what is new to the tables of the build before.

   stg_shards and stg_runs say what is new. Partial aggregates (intermediate) gain the rows of new
   shards, marts those of new runs, and both first forget what a run had before it was captured
   anew or went away. #}

{# A run's name as a number, the same in every build; events group faster by it. #}
{% macro run_key(run_id) -%}
    md5_number_lower({{ run_id }})
{%- endmacro %}

{# The number of a shard, from the path of one of its files. #}
{% macro shard_number(path) -%}
    cast(regexp_extract({{ path }}, '/shard-([0-9]+)[.]parquet$', 1) as integer)
{%- endmacro %}

{# The rows that a table, this one unless named, had after the build before; none where that build
   had no such table. One that this build has made already must not be asked for. #}
{% macro previous_rows(columns, table=none) -%}
    {%- set relation = this.incorporate(path={'identifier': table or this.identifier}) -%}
    {%- set previous = load_relation(relation) if execute else none -%}
    {%- if previous -%}
        select {{ columns | join(', ') }} from {{ previous }}
    {%- else -%}
        select {% for column in columns %}null as {{ column }}{{ ', ' if not loop.last }}{% endfor %}
        where false
    {%- endif -%}
{%- endmacro %}

{# Pre-hook of partial aggregates: keep the rows of runs with shards that were counted before. #}
{% macro forget_recounted_runs() -%}
    {%- set shards = ref('stg_shards') -%}
    {%- set previous = load_relation(this) -%}
    {%- if previous and previous.is_table -%}
        delete from {{ this }}
        where run_key not in (select run_key from {{ shards }} where not is_new)
    {%- endif -%}
{%- endmacro %}

{# Pre-hook of partial aggregates that wait for their run to finish: the marts hold what is not
   waiting any more. #}
{% macro forget_finished_runs() -%}
    {%- set shards = ref('stg_shards') -%}
    {%- if load_relation(this) -%}
        delete from {{ this }}
        where run_key not in (select run_key from {{ shards }} where is_waiting)
    {%- endif -%}
{%- endmacro %}

{# Pre-hook of marts, and of what is computed from whole runs: keep the rows of runs that this
   build does not add. #}
{% macro forget_rebuilt_runs(column='run_id', key='run_id') -%}
    {%- set runs = ref('stg_runs') -%}
    {%- if load_relation(this) -%}
        delete from {{ this }}
        where {{ column }} not in (select {{ key }} from {{ runs }} where not is_new)
    {%- endif -%}
{%- endmacro %}

{# Condition on the rows of the runs that this build adds to the marts. #}
{% macro of_new_runs(column='run_id') -%}
    {{ column }} in (select {{ column }} from {{ ref('stg_new_runs') }})
{%- endmacro %}

{# The events of the listed files, in the order of the list; without a file, no events.

   Naming the files keeps DuckDB from opening the others: a filter on file names would not. #}
{% macro events_of_shards(condition) -%}
    {%- set shards = ref('stg_shards') -%}
    {%- set files = [] -%}
    {%- if execute and load_relation(shards) -%}
        {%- set query -%}
            select replace(path, '''', '''''') from {{ shards }} where {{ condition }}
            order by run_id, shard
        {%- endset -%}
        {%- set files = run_query(query).columns[0].values() -%}
    {%- endif -%}
    select
        run_id,
        {{ run_key('run_id') }} as run_key,
        sample_id,
        position,
        token_id,
        layer,
        experts,
        weights,
        top_expert,
        entropy,
        confidence
    from
    {%- if files %}
        read_parquet(
            ['{{ files | join("', '") }}'],
            hive_partitioning = true, hive_types = {'run_id': 'varchar'}
        )
    {%- else %}
        {{ source('lake', 'events') }}
    where false
    {%- endif -%}
{%- endmacro %}
