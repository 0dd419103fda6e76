-- The previous row is the previous position, because events are stored by layer, sample and
-- position. A test counts the pairs.
with layers as (
    select * from {{ ref('stg_new_layers') }}
),

runs as (
    {{ new_maximum_lengths() }}
),

largest as (
    select max(num_experts) as num_experts
    from layers
),

events as (
    select
        *,
        -- needed only for more than two; bits are compared faster than lists
        case
            when len(experts) > 2 and (select largest.num_experts from largest) <= 128
                then {{ expert_bits('experts') }}
        end as many_bits,
        case
            when len(experts) > 2 and (select largest.num_experts from largest) > 128 then experts
        end as many_experts
    from {{ ref('stg_new_events') }}
    where {{ in_these_layers() }}
),

samples as (
    select * from {{ ref('stg_new_samples') }}
),

-- few or none, so that looking them up costs little
continued_samples as (
    select
        run_key,
        sample_id,
        any_value(prompt_tokens) as prompt_tokens
    from samples
    where prompt_tokens < tokens
    group by run_key, sample_id
),

neighbours as (
    select
        run_key,
        layer,
        sample_id,
        position,
        experts[1] as first_expert,
        experts[2] as second_expert,
        many_bits,
        many_experts,
        lag(sample_id) over () as previous_sample_id,
        lag(position) over () as previous_position,
        lag(experts[1]) over () as previous_first_expert,
        lag(experts[2]) over () as previous_second_expert,
        lag(many_bits) over () as previous_many_bits,
        lag(many_experts) over () as previous_many_experts
    from events
),

adjacent as (
    select
        neighbours.*,
        coalesce(neighbours.position >= continued_samples.prompt_tokens, false) as is_generated
    from neighbours
    inner join runs on neighbours.run_key = runs.run_key
    left join continued_samples
        on
            neighbours.run_key = continued_samples.run_key
            and neighbours.sample_id = continued_samples.sample_id
    where
        neighbours.sample_id = neighbours.previous_sample_id
        and neighbours.position = neighbours.previous_position + 1
        and {{ window_position('neighbours', 'runs') }} > 0
),

pairs as (
    select
        run_key,
        layer,
        is_generated,
        first_expert = previous_first_expert as is_first_repeated,
        first_expert = previous_first_expert
        or first_expert = previous_second_expert
        or second_expert = previous_first_expert
        or second_expert = previous_second_expert as is_one_of_two_repeated,
        many_bits & previous_many_bits > 0
        or list_has_any(many_experts, previous_many_experts) as is_one_of_many_repeated
    from adjacent
),

final as (
    select
        run_key,
        layer,
        is_generated,
        count(*) as pairs,
        count(*) filter (where is_first_repeated) as first_choice_repeats,
        count(*) filter (where is_one_of_two_repeated) as first_or_second_repeats,
        count(*) filter (where is_one_of_two_repeated or is_one_of_many_repeated)
            as any_choice_repeats
    from pairs
    group by run_key, layer, is_generated
)

select * from final
