{# Every combination of the columns is a row of `to`, under the same names. #}
{% test foreign_key(model, columns, to) %}

with keys as (
    select distinct {{ columns | join(', ') }}
    from {{ model }}
),

referenced as (
    select {{ columns | join(', ') }}
    from {{ to }}
),

final as (
    select keys.*
    from keys
    anti join referenced using ({{ columns | join(', ') }})
)

select * from final

{% endtest %}
