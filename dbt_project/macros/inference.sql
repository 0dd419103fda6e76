{# Some samples of each new run, and what they are for. Those of the splits validation and test are
   asked, those of train are learned from; where a run has only one of the two, all of its samples
   are asked. Of either, every n-th sample is taken in the order of its text's hash, so that about
   as many tokens are read as the variables say, whatever alternates along the dataset. #}
{% macro simulated_samples() -%}
    select * exclude (all_tokens, wanted_tokens)
    from (
        select
            *,
            row_number() over (
                partition by run_key, is_learned order by text_sha256, sample_id
            ) - 1 as sample_number,
            sum(tokens) over (partition by run_key, is_learned) as all_tokens,
            if(is_learned, {{ var('learned_tokens') }}, {{ var('simulated_tokens') }})
                as wanted_tokens
        from (
            select
                runs.run_key,
                samples.sample_id,
                samples.domain,
                samples.tokens,
                samples.prompt_tokens,
                samples.text_sha256,
                samples.split = 'train'
                and bool_or(samples.split <> 'train') over (partition by samples.run_id) as is_learned
            from {{ ref('stg_samples') }} as samples
            inner join {{ ref('stg_new_runs') }} as runs on samples.run_id = runs.run_id
            where samples.tokens > 0
        )
    )
    where sample_number % greatest(all_tokens // wanted_tokens, 1) = 0
{%- endmacro %}

{# Sizes of caches, and budgets of predictions: every number of experts up to cache_sizes of them,
   otherwise so many numbers at equal steps, and what one token needs. A list, of columns. #}
{% macro cache_sizes(num_experts, of_a_token) -%}
    list_distinct(
        list_append(
            list_transform(
                range(1, {{ var('cache_sizes') }} + 1),
                lambda step:
                    cast(ceil({{ num_experts }} * step / {{ var('cache_sizes') }}) as integer)
            ),
            cast({{ of_a_token }} as integer)
        )
    )
{%- endmacro %}

{# Which of several caches serves a sample. Samples are dealt in their order to as many caches as
   there are accesses for, at most cache_streams, so that each serves about as many. `partition`
   names what is dealt by itself; the table has sample_number and accesses. #}
{% macro stream_number(partition, num_experts) -%}
    (sum(accesses) over ({{ partition }} order by sample_number) - accesses)
    * least(
        {{ var('cache_streams') }},
        greatest(
            sum(accesses) over ({{ partition }})
            // ({{ var('accesses_per_expert') }} * {{ num_experts }}),
            1
        )
    )
    // sum(accesses) over ({{ partition }})
{%- endmacro %}

{# Columns: accesses, and those of them that are hits, for use under a group by. #}
{% macro accesses_and_hits(accesses, is_hit) -%}
    cast(sum({{ accesses }}) as bigint) as accesses,
        cast(coalesce(sum({{ accesses }}) filter (where {{ is_hit }}), 0) as bigint) as hits
{%- endmacro %}
