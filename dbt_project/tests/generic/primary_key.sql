{# The columns identify a row: together unique, none of them null.

   `few` names the one of them that numbers few things from 0. Its values are counted as the bits of
   a number, 64 to a group, which makes that many fewer groups. #}
{% test primary_key(model, columns, few=none) %}

{%- set grouped = columns | reject('equalto', few) | list %}

with final as (
    select
        {{ grouped | join(', ') }},
        count(*) as duplicates
    from {{ model }}
    group by {{ grouped | join(', ') }}{% if few %}, {{ few }} // 64{% endif %}
    having
        {% if few %}
            count(*) > bit_count(bit_or(cast(1 as ubigint) << ({{ few }} % 64)))
            or count(*) > count({{ few }})
        {% else %}
            count(*) > 1
        {% endif %}
        or {{ grouped | join(' is null or ') }} is null
)

select * from final

{% endtest %}
