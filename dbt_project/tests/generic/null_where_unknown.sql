{# In every layer the columns have values exactly where a condition on what is known holds.

   `known` is a list of pairs: a condition on the columns of `layers` (run_id, layer and flags), and
   the columns that are null where it does not hold. Where it does, none is null, except for those
   of `or_null`, which have other reasons to be. #}
{% test null_where_unknown(model, layers, known, or_null=[]) %}

{%- set columns = known | map('last') | sum(start=[]) %}

with counted as (
    select
        run_id,
        layer,
        count(*) as number,
        {% for column in columns %}
            count({{ column }}) as {{ column }}{{ "," if not loop.last }}
        {% endfor %}
    from {{ model }}
    group by run_id, layer
),

layers as (
    select * from {{ layers }}
),

final as (
    select counted.*
    from counted
    inner join layers on counted.run_id = layers.run_id and counted.layer = layers.layer
    where
        false
        {% for condition, columns in known %}
            {% for column in columns %}
                or (not ({{ condition }}) and counted.{{ column }} > 0)
                {% if column not in or_null %}
                    or ({{ condition }} and counted.{{ column }} < counted.number)
                {% endif %}
            {% endfor %}
        {% endfor %}
)

select * from final

{% endtest %}
