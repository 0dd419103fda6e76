{# A table that is computed layer by layer, with one statement per layer.

   However many layers there are, a statement holds in memory, and looks up at random, the groups of
   one layer only. The model's SQL contains `where layer = {{ this_layer() }}`, and `slices` names
   the layers to go through: `new_layers`, `waiting_layers`, `new_normed_layers`, `compared_layers` or `new_layer_pairs`
   below. Like an incremental table, it keeps what the previous build left, except for what a
   pre-hook deletes. #}
{% materialization layered, adapter='duckdb' %}
    {%- set target = this.incorporate(type='table') -%}
    {%- if config.get('contract').enforced -%}
        {{ get_assert_columns_equivalent(sql) }}
        {%- set sql = get_select_subquery(sql) -%}
    {%- endif -%}
    {{ run_hooks(pre_hooks) }}
    {%- if load_relation(this) is none -%}
        {%- call statement('create') -%}
            create table {{ target }} as select * from ({{ sql }}) where false
        {%- endcall -%}
        {#- DuckDB 2.0.0 loses the statistics of large inserts into a table that the same
            transaction created empty: filters then find nothing until the next checkpoint. Seen
            in 2.0.0; not known to be mended since. -#}
        {%- do adapter.commit() -%}
    {%- endif -%}
    {%- for slice in run_query(context[config.require('slices')]()) -%}
        {%- for name, value in slice.dict().items() -%}
            {%- do run_query('set variable ' ~ name ~ ' = ' ~ value) -%}
        {%- endfor -%}
        {%- call statement('insert') -%}
            insert into {{ target }} {{ sql }}
        {%- endcall -%}
    {%- endfor -%}
    {%- call statement('main') -%}
        select count(*) from {{ target }}
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do persist_docs(target, model) -%}
    {{ adapter.commit() }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{# The layer that a layered table is computing; the `ref` has the list of layers built first. #}
{% macro this_layer() -%}
    {%- do ref('stg_new_layers') -%}
    getvariable('layer')
{%- endmacro %}

{# The next MoE layer of the same stack, where `slices` gives one. #}
{% macro next_layer() -%}
    getvariable('next_layer')
{%- endmacro %}

{# Condition on the runs that have this layer and the next one. #}
{% macro in_these_runs() -%}
    (getvariable('runs') is null or list_contains(getvariable('runs'), run_id))
{%- endmacro %}

{# Slices: the MoE layers of the runs that are new or have new shards. #}
{% macro new_layers() -%}
    select distinct layer from {{ ref('stg_new_layers') }} order by layer
{%- endmacro %}

{# Slices: of these, the layers of runs that are counted shard by shard until they finish. #}
{% macro waiting_layers() -%}
    select distinct layer from {{ ref('stg_new_layers') }}
    where is_waiting
    order by layer
{%- endmacro %}

{# Slices: of these, the layers of finished runs whose events have norms of the experts' outputs. #}
{% macro new_normed_layers() -%}
    select distinct layer from {{ ref('stg_new_layers') }}
    where has_output_norms and run_id in (select run_id from {{ ref('stg_new_runs') }})
    order by layer
{%- endmacro %}

{# Slices: the MoE layers that a new pair of runs has in common. #}
{% macro compared_layers() -%}
    select distinct layer from {{ ref('int_compared_layer') }} order by layer
{%- endmacro %}

{# Slices: each new layer with the next MoE layer of its stack, and the runs that have both. #}
{% macro new_layer_pairs() -%}
    select
        layer,
        next_layer,
        case
            when count(*) < (select count(distinct run_id) from {{ ref('stg_new_layers') }})
                then '[' || string_agg('''' || run_id || '''', ', ') || ']'
            -- looking up each row's run in a list of all runs takes time
            else 'null'
        end as runs
    from (
        select
            run_id,
            layer,
            lead(layer) over (partition by run_id, stack order by moe_index) as next_layer
        from {{ ref('stg_new_layers') }}
    )
    where next_layer is not null
    group by layer, next_layer
    order by layer, next_layer
{%- endmacro %}
