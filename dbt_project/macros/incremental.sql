{# A build adds what is new to the tables of the previous build.

   stg_shards and stg_runs mark what is new. Partial aggregates (intermediate) gain the rows of new
   shards, and marts the rows of new runs. Both first delete the rows of runs that have since been
   captured again or deleted.

   A worked example: run a has two shards, a/0 and a/1, and run b has one, b/0. "Old" means neither
   new nor waiting.

   build  since the previous one          stg_shards                        stg_runs
   1      a/0 landed; b/0 landed, b done  a/0 new; b/0 new                  b new
   2      a/1 landed, a done              a/0 waiting, a/1 new; b/0 old     a new; b old
   3      b/0 captured again              a/0 old, a/1 old; b/0 new         a old; b new

   build  partial aggregates               int_token_expert_*               marts
   1      gain a/0 and b/0                 gain a/0, which waits for a/1    gain b
   2      keep a and b; gain a/1           keep a; gain a/1                 keep b; gain a
   3      delete b, keep a; gain b/0       delete a: the marts have it      delete b, keep a; gain b

   In build 2 the marts that merge partial rows, such as fct_token_routing, do not read a/0 again;
   what has no exact merge (segments, bigrams, lookup tables, blocks) reads both shards of a then.
   The tokens of b never pass through int_token_expert_*: build 1 found b finished, so the marts
   count its events directly. #}

{# A run's name as a number, the same in every build; grouping events by it is faster. #}
{% macro run_key(run_id) -%}
    md5_number_lower({{ run_id }})
{%- endmacro %}

{# The number of a shard, from the path of one of its files: `…/shard-00003.parquet` gives 3. #}
{% macro shard_number(path) -%}
    cast(regexp_extract({{ path }}, '/shard-([0-9]+)[.]parquet$', 1) as integer)
{%- endmacro %}

{# The rows that a table (this one unless named) had after the previous build; none if that build
   had no such table. Never ask for a table that this build has already made.

   `previous_rows(['run_id'])` in stg_runs is `select null as run_id where false` in build 1 above,
   and `select run_id from stg_runs` from build 2 on: there it gives b, so that a is new. #}
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

{# Pre-hook of partial aggregates: keep only the rows of runs with shards that an earlier build
   counted. If one shard of a run changes, all of them are new and the run starts over, as b does
   in build 3 above. #}
{% macro forget_recounted_runs() -%}
    {%- set shards = ref('stg_shards') -%}
    {%- set previous = load_relation(this) -%}
    {%- if previous and previous.is_table -%}
        delete from {{ this }}
        where run_key not in (select run_key from {{ shards }} where not is_new)
    {%- endif -%}
{%- endmacro %}

{# Pre-hook of partial aggregates that wait for their run to finish: once a run no longer waits, the
   marts hold it. In build 2 above, a/0 still waits, for the marts of that build to merge its rows;
   build 3 deletes them. #}
{% macro forget_finished_runs() -%}
    {%- set shards = ref('stg_shards') -%}
    {%- if load_relation(this) -%}
        delete from {{ this }}
        where run_key not in (select run_key from {{ shards }} where is_waiting)
    {%- endif -%}
{%- endmacro %}

{# Pre-hook of marts, and of what is computed from whole runs: keep only the rows of finished runs
   that this build does not add, which is b in build 2 above and a in build 3. #}
{% macro forget_rebuilt_runs(column='run_id', key='run_id') -%}
    {%- set runs = ref('stg_runs') -%}
    {%- set previous = load_relation(this) -%}
    {%- if previous and previous.is_table -%}
        delete from {{ this }}
        where {{ column }} not in (select {{ key }} from {{ runs }} where not is_new)
    {%- endif -%}
{%- endmacro %}

{# Pre-hook of what only the build that makes it needs. #}
{% macro forget_all() -%}
    {%- if load_relation(this) -%}
        delete from {{ this }}
    {%- endif -%}
{%- endmacro %}

{# Condition on the rows of the runs that this build adds to the marts. #}
{% macro of_new_runs(column='run_id') -%}
    {{ column }} in (select {{ column }} from {{ ref('stg_new_runs') }})
{%- endmacro %}

{# The same, without runs of counts, which tell nothing of tokens and of pairs of experts. #}
{% macro of_new_runs_with_events() -%}
    run_id in (select run_id from {{ ref('stg_runs') }} where is_new and source <> 'counts')
{%- endmacro %}

{# The events of the shards that meet a condition, file by file in the order of run and shard; no
   events where there is no such shard.

   Naming the files keeps DuckDB from opening the others; a filter on file names would not. In build
   2 above, `events_of_shards('is_new')` reads `['…/run_id=a/shard-00001.parquet']`, and
   `events_of_shards(of_new_runs())` reads both files of a.
   Only files of runs with norms have a column of them: ask for it of those alone. #}
{% macro events_of_shards(condition, with_norms=false) -%}
    {%- set shards = ref('stg_shards') -%}
    {%- set files = [] -%}
    {%- if execute and load_relation(shards) -%}
        {%- set query -%}
            select replace(path, '''', '''''') from {{ shards }} where {{ condition }}
            order by run_id, shard
        {%- endset -%}
        {%- set files = run_query(query).columns[0].values() -%}
    {%- endif -%}
    {%- do source('lake', 'events') -%}
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
        confidence{{ ', output_norms' if with_norms }}
    from
    {%- if files %}
        read_parquet(
            ['{{ files | join("', '") }}'],
            hive_partitioning = true, hive_types = {'run_id': 'varchar'}
        )
    {%- else %}
        ({{ no_rows(dict(may_be_missing()['events'], output_norms='float[]')) }})
    {%- endif -%}
{%- endmacro %}
