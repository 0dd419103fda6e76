{# A set of experts as a number, so that sets are grouped and compared as numbers are. It is exact;
   where 128 bits do not hold the set (of 512 experts, one of more than 14) it is null, and
   `long_expert_set` gives its list. Of the two, one is null.

   Of up to 128 experts, one bit stands for each, from the highest: {0, 3} is 1001 and 124 zeros.
   Of more, the sorted ids stand in top_k fields of `expert_set_field` bits, as their complements.
   Either way the larger of two numbers is the set with the smaller ids, compared in order. What a
   damaged file holds beyond its layer's numbers is no error here: a test finds it.
   `routers` names what has num_experts and top_k. #}
{% macro expert_set(experts, routers) -%}
    case
            when {{ routers }}.num_experts <= 128 then {{ expert_bits(experts) }}
            when not {{ is_long_set(routers) }}
                then list_aggregate(
                    list_transform(
                        list_zip(list_sort({{ experts }}), range({{ routers }}.top_k)),
                        lambda placed: (
                            cast(65535 - placed[1] as uhugeint) % {{ expert_set_ids(routers) }}
                        ) << cast(
                            ({{ routers }}.top_k - 1 - placed[2]) * {{ expert_set_field(routers) }}
                            as uhugeint
                        )
                    ),
                    'bit_or'
                )
        end
{%- endmacro %}

{# The sorted ids of a set of experts of which `expert_set` gives no number. #}
{% macro long_expert_set(experts, routers) -%}
    case when {{ is_long_set(routers) }} then list_sort({{ experts }}) end
{%- endmacro %}

{# The sorted ids of a set that `expert_set` made a number. #}
{% macro experts_of_set(expert_set, routers) -%}
    case
            when {{ routers }}.num_experts <= 128
                then list_filter(
                    cast(range({{ routers }}.num_experts) as usmallint[]),
                    lambda expert: ({{ expert_set }} >> cast(127 - expert as uhugeint)) & 1 = 1
                )
            else list_transform(
                range({{ routers }}.top_k - 1, -1, -1),
                lambda place: cast(
                    {{ expert_set_ids(routers) }} - 1
                    - (
                        {{ expert_set }} >> cast(place * {{ expert_set_field(routers) }} as uhugeint)
                    ) % {{ expert_set_ids(routers) }}
                    as usmallint
                )
            )
        end
{%- endmacro %}

{# Whether sets of a router's experts are too long for a number. #}
{% macro is_long_set(routers) -%}
    ({{ routers }}.num_experts > 128 and {{ routers }}.num_experts > {{ expert_set_ids(routers) }})
{%- endmacro %}

{# Bits of each id in a set's number: as many as there is room for, at most the 16 of an id. #}
{% macro expert_set_field(routers) -%}
    least(128 // {{ routers }}.top_k, 16)
{%- endmacro %}

{# How many ids such a field tells apart. #}
{% macro expert_set_ids(routers) -%}
    (cast(1 as uhugeint) << cast({{ expert_set_field(routers) }} as uhugeint))
{%- endmacro %}

{# A set of up to 128 experts as bits, the first for expert 0. #}
{% macro expert_bits(experts) -%}
    list_aggregate(
        list_transform(
            {{ experts }}, lambda expert: (cast(1 as uhugeint) << 127) >> cast(expert as uhugeint)
        ),
        'bit_or'
    )
{%- endmacro %}
