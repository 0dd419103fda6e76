{# A table of the lake, in the folder that GATEHOUSE_LAKE names when the model runs.

   What dbt parses holds the name of the variable only, so one parse serves every home. A view keeps
   the folder's own name, so it can be read where no variable is set. #}
{% macro lake(table) -%}
    {%- set folder = lake_folder() | replace("'", "''") if execute -%}
    {{ source('lake', table) | string | replace('GATEHOUSE_LAKE', folder or '') }}
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
