{# A table that is computed layer by layer, with one statement per layer.

   However many layers there are, a statement holds in memory, and looks up at random, the groups of
   one layer only. The model's SQL contains `where layer = {{ this_layer() }}`, and `slices` names
   the layers to go through, one of the macros below. Where a layer has few groups, one statement for
   all layers is faster: `where {{ in_these_layers() }}`, and the slices `all_new_layers`. Like an
   incremental table, it keeps what the previous build left, except for what a pre-hook deletes.

   Two variables let many processes build the layered tables, each a share of the layers:
   GATEHOUSE_LAYERS, such as 4-7, the first layer of a share and its last, leaves out all others and
   writes each statement's rows to a file in GATEHOUSE_PARTIALS as well, `<table>.<number>.parquet`.
   With GATEHOUSE_PARTIALS alone, which then holds a folder for each share, nothing is computed: the
   rows of all files are inserted. #}
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
    {%- if partials() and not share() -%}
        {{ insert_partials(target) }}
    {%- else -%}
        {%- for slice in run_query(context[config.require('slices')]()) -%}
            {%- for name, value in slice.dict().items() -%}
                {%- do run_query('set variable ' ~ name ~ ' = ' ~ value) -%}
            {%- endfor -%}
            {%- set rows = sql -%}
            {%- if share() and share()[0] <= slice['layer'] <= share()[1] -%}
                {%- set file = this.identifier ~ '.' ~ loop.index ~ '.parquet' -%}
                {%- do run_query("copy (" ~ sql ~ ") to '" ~ partials() ~ "/" ~ file ~ "'") -%}
                {%- set rows = 'by name select * from read_parquet(' ~ partial_files(file) ~ ')' -%}
            {%- endif -%}
            {%- call statement('insert') -%}
                insert into {{ target }} {{ rows }}
            {%- endcall -%}
        {%- endfor -%}
    {%- endif -%}
    {%- call statement('main') -%}
        select count(*) from {{ target }}
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do persist_docs(target, model) -%}
    {{ adapter.commit() }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{# Insert what all shares have made of this table; a share without slices has made no file. #}
{% macro insert_partials(target) -%}
    {%- set files = partial_files('*/' ~ target.identifier ~ '.*.parquet') -%}
    {%- if run_query('select 1 from glob(' ~ files ~ ') limit 1').rows | length > 0 -%}
        {%- call statement('insert') -%}
            insert into {{ target }} by name select * from read_parquet({{ files }})
        {%- endcall -%}
    {%- endif -%}
{%- endmacro %}

{# The folder that GATEHOUSE_PARTIALS names, for use between quotes; none if it names none. #}
{% macro partials() -%}
    {{ return(env_var('GATEHOUSE_PARTIALS', '') | replace("'", "''")) }}
{%- endmacro %}

{# A pattern of names in that folder, whose own name is taken literally. #}
{% macro partial_files(names) -%}
    regexp_replace('{{ partials() }}', '[*?[]', '[\0]', 'g') || '/{{ names }}'
{%- endmacro %}

{# The first layer and the last of the share that GATEHOUSE_LAYERS names; none if it names none. #}
{% macro share() -%}
    {%- set named = env_var('GATEHOUSE_LAYERS', '') -%}
    {{ return(named.split('-') | map('int') | list if named else none) }}
{%- endmacro %}

{# Condition on the layers of that share. #}
{% macro of_share(layer='layer') -%}
    {{ layer ~ ' between ' ~ share() | join(' and ') if share() else 'true' }}
{%- endmacro %}

{# The layer that a layered table is computing; the `ref` has the list of layers built first. #}
{% macro this_layer() -%}
    {%- do ref('stg_new_layers') -%}
    getvariable('layer')
{%- endmacro %}

{# Condition on the layers that a layered table computes at once. #}
{% macro in_these_layers() -%}
    layer between {{ this_layer() }} and getvariable('last_layer')
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
    select distinct layer from {{ ref('stg_new_layers') }}
    where {{ of_share() }}
    order by layer
{%- endmacro %}

{# Slices: all of these at once. #}
{% macro all_new_layers() -%}
    select
        min(layer) as layer,
        max(layer) as last_layer
    from {{ ref('stg_new_layers') }}
    where {{ of_share() }}
    having count(*) > 0
{%- endmacro %}

{# Slices: the new layers, and for a share the layer before each, of which predictions are made. #}
{% macro simulated_layers() -%}
    select distinct layer
    from (
        select
            layer,
            lead(layer) over (partition by run_id, stack order by moe_index) as next_layer
        from {{ ref('stg_new_layers') }}
    )
    where {{ of_share() }} or {{ of_share('next_layer') }}
    order by layer
{%- endmacro %}

{# Slices: of these, the layers of runs that are counted shard by shard until they finish. #}
{% macro waiting_layers() -%}
    select distinct layer from {{ ref('stg_new_layers') }}
    where is_waiting and {{ of_share() }}
    order by layer
{%- endmacro %}

{# Slices: of these, the layers of finished runs whose events have norms of the experts' outputs. #}
{% macro new_normed_layers() -%}
    select distinct layer from {{ ref('stg_new_layers') }}
    where
        has_output_norms
        and run_id in (select run_id from {{ ref('stg_new_runs') }})
        and {{ of_share() }}
    order by layer
{%- endmacro %}

{# Slices: the MoE layers that a new pair of runs has in common. #}
{% macro compared_layers() -%}
    select distinct layer from {{ ref('int_compared_layer') }}
    where {{ of_share() }}
    order by layer
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
    where next_layer is not null and {{ of_share() }}
    group by layer, next_layer
    order by layer, next_layer
{%- endmacro %}
