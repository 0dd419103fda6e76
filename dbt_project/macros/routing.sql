{# The ranks 1 … k of the largest k among the runs with new shards. #}
{% macro ranks() -%}
    select rank
    from (
        select unnest(generate_series(1, max(top_k))) as rank
        from {{ ref('stg_new_layers') }}
    )
{%- endmacro %}

{# Chance that two random sets of k of E experts share one: 1 - C(E - k, k) / C(E, k). #}
{% macro overlap_chance(num_experts, top_k) -%}
    1 - list_product(
        list_transform(
            range({{ top_k }}),
            lambda i: greatest({{ num_experts }} - {{ top_k }} - i, 0) / ({{ num_experts }} - i)
        )
    )
{%- endmacro %}

{# A column's value for the expert with the largest count (ties go to the smallest id); 0 where all
   counts are 0. For use under a group by. #}
{% macro at_the_modal_expert(column, count) -%}
    coalesce(
        arg_max({{ column }}, {{ count }} * 65536 + 65535 - expert) filter (where {{ count }} > 0), 0
    )
{%- endmacro %}

{# Plug-in entropy of counts, in nats, for use under a group by. #}
{% macro entropy_of_counts(count) -%}
    ln(sum({{ count }})) - sum({{ count }} * ln({{ count }})) / sum({{ count }})
{%- endmacro %}

{# Correction of the plug-in entropy for small counts (Miller, 1955): (classes seen - 1) / 2n. #}
{% macro miller_madow(count) -%}
    (count(*) - 1) / (2 * sum({{ count }}))
{%- endmacro %}

{# Position of an event's token in the window that the model read: windows begin at multiples of the
   run's maximum length, and a sample that was cut off has only the first. #}
{% macro window_position(events, runs) -%}
    {{ events }}.position % {{ runs }}.max_length
{%- endmacro %}

{# The runs with new shards and their maximum lengths. A join by run alone is faster than one by run
   and layer. #}
{% macro new_maximum_lengths() -%}
    select
        run_key,
        any_value(max_length) as max_length
    from {{ ref('stg_new_layers') }}
    group by run_key
{%- endmacro %}

{# First position of a bucket of positions: 0, 1, 2, 4, 8, … #}
{% macro first_position(bucket) -%}
    cast(case when {{ bucket }} = 0 then 0 else pow(2, {{ bucket }} - 1) end as bigint)
{%- endmacro %}

{# How a lookup table does on held-out text, from sums over what it covers; null over nothing. #}
{% macro lookup_table_measures(held_out_occurrences) -%}
    covered.covered_occurrences / nullif({{ held_out_occurrences }}, 0) as coverage,
        covered.top_agreements / nullif(covered.covered_occurrences, 0) as top_agreement,
        covered.set_agreements / nullif(covered.covered_occurrences, 0) as set_agreement,
        covered.retained_gate_mass / nullif(covered.gate_mass, 0) as retained_gate_mass
{%- endmacro %}

{# Sums over tokens of a lookup table, of which `lookup_table_measures` makes shares. #}
{% macro lookup_table_sums(tokens) -%}
    sum({{ tokens }}.top_agreements) as top_agreements,
        sum({{ tokens }}.set_agreements) as set_agreements,
        sum({{ tokens }}.gate_mass) as gate_mass,
        sum({{ tokens }}.retained_gate_mass) as retained_gate_mass
{%- endmacro %}

{# A query of how many held-out tokens each layer of a run has, of the CTE `scores`. #}
{% macro held_out_totals() -%}
    select
        run_key,
        layer,
        sum(occurrences) as held_out_occurrences
    from scores
    group by run_key, layer
{%- endmacro %}

{# Import CTEs of the two grids of thresholds: occurrences, and nats. #}
{% macro threshold_grids() -%}
    frequency_thresholds as (
        select unnest(cast({{ var('frequency_thresholds') }} as bigint[])) as frequency_threshold
    ),

    entropy_thresholds as (
        select unnest(cast({{ var('entropy_thresholds') }} as double[])) as entropy_threshold
    )
{%- endmacro %}

{# Whether a router of so many experts can have an entropy above the threshold; up to 2 nats, those
   of the specification, always. #}
{% macro is_in_grid(num_experts) -%}
    (entropy_thresholds.entropy_threshold <= 2 or entropy_thresholds.entropy_threshold < ln({{ num_experts }}))
{%- endmacro %}

{# Number of the bucket of positions that holds one: 0, 1, 2-3, 4-7, …: its binary digits. #}
{% macro position_bucket(position) -%}
    cast(coalesce(floor(log2(nullif({{ position }}, 0))) + 1, 0) as smallint)
{%- endmacro %}

{# Position of a token that two runs read, in the window that began nearer to it. #}
{% macro nearest_window_position(events, runs) -%}
    least({{ events }}.position % {{ runs }}.max_length, {{ events }}.position % {{ runs }}.other_max_length)
{%- endmacro %}

{# The events of the shared tokens of two runs, side by side as `events` and `other_events`, for the
   layers in a CTE `layers` of int_compared_layer and the samples in `pairs`, of int_run_pair.

   Sample, position and token are compared as one: DuckDB would else join all samples' events of a
   position and token first, which are many times as many as those of the pairs. #}
{% macro shared_events() -%}
    layers
    inner join pairs
        on layers.run_key = pairs.run_key and layers.other_run_key = pairs.other_run_key
    inner join events as other_events
        on
            pairs.other_run_key = other_events.run_key
            and pairs.other_sample_id = other_events.sample_id
    inner join events
        on
            pairs.run_key = events.run_key
            and (pairs.sample_id, other_events.position, other_events.token_id)
            = (events.sample_id, events.position, events.token_id)
{%- endmacro %}

{# By how much an event's first weight exceeds its second; null where one is chosen. #}
{% macro margin(weights) -%}
    cast({{ weights }}[1] as double) - {{ weights }}[2]
{%- endmacro %}

{# Number of the bucket of margins that holds one: how many of the later buckets it reaches. #}
{% macro margin_bucket(margin) -%}
    {%- set reached = [] -%}
    {%- for bound in var('margin_buckets')[1:] -%}
        {%- do reached.append('cast(' ~ margin ~ ' >= ' ~ bound ~ ' as smallint)') -%}
    {%- endfor -%}
    {{- reached | join(' + ') -}}
{%- endmacro %}

{# Smallest margin of a bucket of margins. #}
{% macro smallest_margin(bucket) -%}
    cast({{ var('margin_buckets') }} as double[])[{{ bucket }} + 1]
{%- endmacro %}

{# Every n-th sample of each new run, in the order of its text's hash, so that about segment_tokens
   tokens are read, whatever alternates along the dataset. #}
{% macro chosen_samples() -%}
    select * exclude (place, spacing)
    from (
        select
            runs.run_key,
            samples.sample_id,
            samples.tokens,
            samples.prompt_tokens,
            runs.max_length,
            row_number() over (
                partition by samples.run_id
                order by samples.text_sha256, samples.sample_id
            ) - 1 as place,
            greatest(
                sum(samples.tokens) over (partition by samples.run_id)
                // {{ var('segment_tokens') }},
                1
            ) as spacing
        from {{ ref('stg_samples') }} as samples
        inner join {{ ref('stg_new_runs') }} as runs on samples.run_id = runs.run_id
    )
    where place % spacing = 0
{%- endmacro %}

{# Number of the window of a run's text that holds a sample's first token, from 0; all windows have
   as many tokens, up to a sample's. #}
{% macro load_window() -%}
    cast(
            (sum(tokens) over (partition by run_id order by sample_id) - tokens)
            * {{ var('load_windows') }} // sum(tokens) over (partition by run_id)
            as smallint
        )
{%- endmacro %}

{# An expert's rank in its layer by a column, from 1 for the largest value; ties go to the smallest
   id, and experts without a value, which never ran, come last. #}
{% macro saliency_rank(column) -%}
    cast(
            row_number() over (
                partition by run_id, layer
                order by {{ column }} desc nulls last, expert
            ) as integer
        )
{%- endmacro %}

{# The share that the experts of a group before this one have together, the largest first, ties in
   the order of their ids; null where the share is. Shares are rounded to four decimals, as in ESFT's
   files, and added as decimals: three that make 0.2 reach 0.2. #}
{% macro share_before(share, group) -%}
    case
            when {{ share }} is not null then coalesce(
                cast(
                    sum(cast({{ share }} as decimal(9, 4))) over (
                        partition by {{ group }}
                        order by cast({{ share }} as decimal(9, 4)) desc, expert
                        rows between unbounded preceding and 1 preceding
                    ) as double
                ), 0
            )
        end
{%- endmacro %}

{# The phase of tokens that were generated, or not. #}
{% macro phase(is_generated) -%}
    case when {{ is_generated }} then 'generated' else 'prompt' end
{%- endmacro %}

{# Columns: how the load is spread over the experts of a group of rows of fct_expert_load, or of
   another table with its columns. #}
{% macro balance_of_experts() -%}
    max(load) / nullif(avg(load), 0) as max_load_ratio,
        stddev_pop(load) / nullif(avg(load), 0) as load_variation,
        pow(sum(load), 2) / nullif(count(*) * sum(pow(load, 2)), 0) as jain_index,
        count(*) filter (where is_dead) as dead_experts
{%- endmacro %}

{# How many values of a grid, a variable of the project, a number reaches. #}
{% macro reached(number, grid) -%}
    {%- set comparisons = [] -%}
    {%- for bound in var(grid) -%}
        {%- do comparisons.append('cast(' ~ number ~ ' >= ' ~ bound ~ ' as smallint)') -%}
    {%- endfor -%}
    {{- comparisons | join(' + ') -}}
{%- endmacro %}
