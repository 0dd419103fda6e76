{# A table of the lake, in the folder that GATEHOUSE_LAKE names when the model runs.

   What dbt parses holds the name of the variable only, so one parse serves every home. A view keeps
   the folder's own name, so it can be read where no variable is set. #}
{% macro lake(table) -%}
    {%- set folder = lake_folder() | replace("'", "''") if execute -%}
    {%- set files = source('lake', table) | string | replace('GATEHOUSE_LAKE', folder or '') -%}
    {%- set added = added_since().get(table) -%}
    {%- if added -%}
        {{ with_what_was_added(files, added) }}
    {%- else -%}
        {{ files }}
    {%- endif -%}
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
        },
        'layers': {
            'has_weights': ('boolean', 'true'),
            'has_distribution': ('boolean', 'true'),
            'ranked': ('boolean', 'true'),
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
