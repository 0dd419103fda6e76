{# Finished runs, each in the series of its model, dataset and settings: the nights of a deployment.
   Of each run the one before it and the first of the series, by when they started.

   What changes from night to night is no setting: the samples, the machine, the versions, and the
   weights under a model's name. #}
{% macro runs_in_series() -%}
    select
        run_id,
        started_at,
        series,
        lag(run_id) over in_order as previous_run_id,
        first_value(run_id) over in_order as first_run_id,
        is_new or coalesce(lag(is_new) over in_order, false) or first_value(is_new) over in_order
            as is_changed
    from (
        select
            *,
            left(md5(concat_ws(
                chr(10), source, model, dataset, max_length, windows, dtype,
                coalesce(quantization, ''), coalesce(generate, 0), coalesce(temperature, 0),
                coalesce(seed, 0)
            )), 10) as series
        from {{ ref('stg_runs') }}
    )
    window in_order as (partition by series order by started_at, run_id)
{%- endmacro %}

{# Pre-hook of fct_run_trend: keep only the rows of runs that are compared with the same runs as
   before, none of which has changed. #}
{% macro forget_moved_runs() -%}
    {%- set runs = runs_in_series() -%}
    {%- set previous = load_relation(this) -%}
    {%- if previous and previous.is_table -%}
        delete from {{ this }}
        where (run_id, coalesce(previous_run_id, ''), first_run_id) not in (
            select (run_id, coalesce(previous_run_id, ''), first_run_id)
            from ({{ runs }})
            where not is_changed
        )
    {%- endif -%}
{%- endmacro %}

{# Condition on the rows of runs that this table does not have, or no longer, when it is built. #}
{% macro of_missing_runs() -%}
    {%- if is_incremental() -%}
        run_id not in (select run_id from {{ this }})
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
