{# Every expression is true, not false or null, for every row. #}
{% test holds(model, expressions) %}

with final as (
    select *
    from {{ model }}
    where ({{ expressions | join(') is not true or (') }}) is not true
)

select * from final

{% endtest %}
