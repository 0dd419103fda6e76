{# The columns identify a row: together unique, none of them null. #}
{% test primary_key(model, columns) %}

with final as (
    select
        {{ columns | join(', ') }},
        count(*) as duplicates
    from {{ model }}
    group by all
    having count(*) > 1 or {{ columns | join(' is null or ') }} is null
)

select * from final

{% endtest %}
