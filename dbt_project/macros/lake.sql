{# A table of the lake, in the folder that GATEHOUSE_LAKE names when the model runs.

   What dbt parses holds the name of the variable only, so one parse serves every home. A view keeps
   the folder's own name, so it can be read where no variable is set. #}
{% macro lake(table) -%}
    {%- set folder = env_var('GATEHOUSE_LAKE') | replace("'", "''") if execute -%}
    {{ source('lake', table) | string | replace('GATEHOUSE_LAKE', folder or '') }}
{%- endmacro %}
