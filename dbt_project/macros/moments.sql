{# Sum of squared deviations of a float32 column from its mean (M2), in double precision. #}
{% macro m2(column) -%}
    var_pop(cast({{ column }} as double)) * count(*)
{%- endmacro %}

{# Sum of squared deviations of merged parts, from each part's count, mean and own sum (M2).

   Unlike a sum of squares, it keeps deviations that are tiny compared with the mean (Chan, Golub
   and LeVeque, 1983). For use under a group by; `overall_mean` is constant within the group. #}
{% macro merged_m2(count, mean, m2, overall_mean) -%}
    sum({{ m2 }} + {{ count }} * pow({{ mean }} - {{ overall_mean }}, 2))
{%- endmacro %}

{# Columns: counts and moments of the entropy and the confidence of the events of a group. #}
{% macro event_moments() -%}
    count(*) as events,
        avg(cast(entropy as double)) as mean_entropy,
        {{ m2('entropy') }} as entropy_m2,
        cast(min(entropy) as double) as min_entropy,
        cast(max(entropy) as double) as max_entropy,
        avg(cast(confidence as double)) as mean_confidence,
        {{ m2('confidence') }} as confidence_m2
{%- endmacro %}

{# Sample standard deviation from a sum of squared deviations; null for a single value. #}
{% macro sample_deviation(m2, count) -%}
    sqrt({{ m2 }} / nullif({{ count }} - 1, 0))
{%- endmacro %}
