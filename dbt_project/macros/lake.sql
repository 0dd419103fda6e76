{# A table of the lake, in the folder that GATEHOUSE_LAKE names when the model runs.

   What dbt parses holds the name of the variable only, so one parse serves every home. A view keeps
   the folder's own name, so it can be read where no variable is set. #}
{% macro lake(table) -%}
    {%- set folder = lake_folder() | replace("'", "''") if execute -%}
    {%- set files = source('lake', table) | string | replace('GATEHOUSE_LAKE', folder or '') -%}
    {%- set columns = may_be_missing().get(table) -%}
    {%- if columns and execute and not has_files(folder, table) -%}
        {%- set files = '(' ~ no_rows(columns) ~ ')' -%}
    {%- endif -%}
    {%- if table == 'shards' -%}
        {%- set files = the_records_that_hold(files) -%}
    {%- endif -%}
    {%- set added = added_since().get(table) -%}
    {%- if added -%}
        {{ with_what_was_added(files, added) }}
    {%- else -%}
        {{ files }}
    {%- endif -%}
{%- endmacro %}

{# A row per shard: lakes before version 6 have a table of a run's shards, later ones a file for
   each shard, which holds where both tell of one. gatehouse/warehouse/runs/shards.py says the
   same. #}
{% macro the_records_that_hold(files) -%}
    (
        select * exclude (filename)
        from {{ files }}
        where regexp_matches(filename, '/(shards|shard-\d{5,})\.parquet$')
        qualify row_number() over (
            partition by run_id, shard order by ends_with(filename, '/shards.parquet')
        ) = 1
    )
{%- endmacro %}

{# Tables of the lake that have no file where there is no run of a kind, and the columns that models
   read of them: runs of counts have nothing but counts, other runs have none, and few are replayed. #}
{% macro may_be_missing() -%}
    {{ return({
        'shards': {
            'run_id': 'varchar',
            'filename': 'varchar',
            'shard': 'integer',
            'events_sha256': 'varchar',
        },
        'event_files': {'filename': 'varchar', 'size': 'bigint', 'last_modified': 'timestamp with time zone'},
        'counts': {
            'run_id': 'varchar',
            'layer': 'smallint',
            'expert': 'usmallint',
            'selections': 'bigint',
        },
        'samples': {
            'run_id': 'varchar',
            'filename': 'varchar',
            'sample_id': 'bigint',
            'name': 'varchar',
            'domain': 'varchar',
            'split': 'varchar',
            'tokens': 'integer',
            'dropped_tokens': 'integer',
            'text_sha256': 'varchar',
        },
        'events': {
            'run_id': 'varchar',
            'sample_id': 'bigint',
            'position': 'uinteger',
            'token_id': 'integer',
            'layer': 'smallint',
            'experts': 'usmallint[]',
            'weights': 'float[]',
            'top_expert': 'usmallint',
            'entropy': 'float',
            'confidence': 'float',
        },
        'replay_files': {'filename': 'varchar', 'size': 'bigint', 'last_modified': 'timestamp with time zone'},
        'replays': {
            'run_id': 'varchar',
            'filename': 'varchar',
            'policy_id': 'varchar',
            'policy': 'varchar',
            'kind': 'varchar',
            'ids_only': 'boolean',
            'min_share': 'double',
            'min_frequency': 'bigint',
            'frequency_threshold': 'bigint',
            'entropy_threshold': 'double',
            'table_size': 'bigint',
            'weight_threshold': 'double',
            'ranked_by': 'varchar',
            'masked_experts': 'integer',
            'routing_of': 'varchar',
            'moe_indices': 'smallint[]',
            'controls': 'varchar',
            'is_control': 'boolean',
            'run_sha256': 'varchar',
            'routing_of_sha256': 'varchar',
            'sample_id': 'bigint',
            'tokens': 'bigint',
            'nll': 'double',
            'untouched_nll': 'double',
            'kl': 'double',
            'same_top': 'bigint',
            'rows': 'bigint',
            'covered': 'bigint[]',
            'agreed': 'bigint[]',
            'undisturbed': 'bigint[]',
            'experts_run': 'bigint[]',
            'device': 'varchar',
            'versions': 'varchar',
            'landed_at': 'timestamp with time zone',
        },
    }) }}
{%- endmacro %}

{# Whether the lake in this folder has a file of the table. #}
{% macro has_files(folder, table) -%}
    {%- set kept_in = {'event_files': 'events', 'replay_files': 'replays'}.get(table, table) -%}
    {%- set part = 'part-*' if kept_in == 'replays' else 'shard-*' -%}
    {%- set name = {'shards': 'shard*', 'counts': 'counts'}.get(table, part) -%}
    {%- set found = run_query(
        "select 1 from glob(regexp_replace('" ~ folder ~ "', '[*?[]', '[\\0]', 'g')"
        ~ " || '/" ~ kept_in ~ "/run_id=*/" ~ name ~ ".parquet') limit 1"
    ) -%}
    {{ return(found.rows | length > 0) }}
{%- endmacro %}

{# A query without rows, with these columns. #}
{% macro no_rows(columns) -%}
    select
    {%- for name, type in columns.items() %} cast(null as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %} where false
{%- endmacro %}

{# The rows of files, some of which may lack columns; `added` as `added_since` gives it. #}
{% macro with_what_was_added(files, added) -%}
    {%- set nulls, meanings = [], [] -%}
    {%- for name, (type, meaning) in added.items() -%}
        {%- do nulls.append('cast(null as ' ~ type ~ ') as ' ~ name) -%}
        {%- if meaning -%}
            {%- do meanings.append('coalesce(' ~ name ~ ', ' ~ meaning ~ ') as ' ~ name) -%}
        {%- endif -%}
    {%- endfor -%}
    (
        select * replace ({{ meanings | join(', ') }})
        from (
            select {{ nulls | join(', ') }} where false
            union all by name
            select * from {{ files }}
        )
    )
{%- endmacro %}

{# Columns that were added to a table of the lake since version 3: their types, and what a file
   without them means. gatehouse/warehouse/older.py says the same. #}
{% macro added_since() -%}
    {{ return({
        'runs': {
            'lines': ('boolean', 'false'),
            'document_field': ('varchar', none),
            'source': ('varchar', "'capture'"),
            'source_files': ('varchar', none),
            'has_token_ids': ('boolean', 'true'),
            'generate': ('integer', none),
            'temperature': ('double', none),
            'seed': ('bigint', none),
            'output_norms': ('boolean', none),
        },
        'layers': {
            'has_weights': ('boolean', 'true'),
            'has_distribution': ('boolean', 'true'),
            'ranked': ('boolean', 'true'),
            'expert_bytes': ('bigint', none),
        },
        'samples': {
            'document': ('varchar', none),
            'document_sha256': ('varchar', 'text_sha256'),
            'prompt_tokens': ('integer', 'tokens'),
            'turns': ('struct(role varchar, first_position uinteger)[]', none),
        },
    }) }}
{%- endmacro %}

{# The folder of the lake: Gatehouse names it; for dbt by itself it is beside the database. #}
{% macro lake_folder() -%}
    {%- set named = env_var('GATEHOUSE_LAKE', '') -%}
    {%- if not named and execute -%}
        {%- set found = run_query(
            "select parse_dirpath(path) from duckdb_databases() where path is not null limit 1"
        ) -%}
        {%- set named = found.rows[0][0].rstrip('/') ~ '/lake' -%}
    {%- endif -%}
    {{- named -}}
{%- endmacro %}

{# Stop before the first model if the lake has no run, and say what makes one. #}
{% macro require_a_run() -%}
    {%- if execute and flags.WHICH in ('build', 'run', 'test') -%}
        {%- set folder = lake_folder() | replace("'", "''") -%}
        {%- set found = run_query(
            "select count(*) from glob(regexp_replace('" ~ folder ~ "', '[*?[]', '[\\0]', 'g')"
            ~ " || '/runs/run_id=*/runs.parquet')"
        ) -%}
        {%- if found.rows[0][0] == 0 -%}
            {{ exceptions.raise_compiler_error(
                'there is no run in ' ~ lake_folder() ~ ': `gatehouse run` or `gatehouse capture` lands one'
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
