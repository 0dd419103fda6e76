with recursive events as (
    select * from {{ ref('stg_new_run_events') }}
    where layer = {{ this_layer() }}
),

layers as (
    select * from {{ ref('stg_new_layers') }}
    where layer = {{ this_layer() }}
),

chosen as (
    {{ chosen_samples() }}
),

sequences as (
    select
        *,
        row_number() over (partition by run_key order by sample_id) - 1 as sequence_number
    from chosen
),

placed as (
    select
        events.run_key,
        events.layer,
        sequences.sequence_number,
        events.position,
        events.position // sequences.max_length as window_number,
        events.position // sequences.max_length * sequences.max_length as window_position,
        events.position >= sequences.prompt_tokens as is_generated,
        case
            when events.position >= sequences.prompt_tokens then sequences.prompt_tokens else 0
        end as phase_position,
        events.experts,
        cast(repeat('0', layers.num_experts) as bit) as no_experts
    from events
    inner join layers on events.run_key = layers.run_key and events.layer = layers.layer
    inner join sequences
        on events.run_key = sequences.run_key and events.sample_id = sequences.sample_id
),

-- a set of experts is a string of bits, which merges much faster than ids are told apart
tokens as materialized (
    select
        run_key,
        layer,
        is_generated,
        sequence_number,
        window_number,
        position - phase_position as place,
        position - greatest(window_position, phase_position) as window_place,
        list_aggregate(
            list_transform(experts, lambda expert: set_bit(no_experts, expert, 1)), 'bit_or'
        ) as experts
    from placed
),

-- Two batches of a size, side by side, are one of the next: then the batches of all sizes take
-- twice the work of the first. What remains at the end is smaller than a batch.
batches as (
    select
        run_key,
        layer,
        is_generated,
        false as is_of_sequences,
        1 as size,
        sequence_number,
        window_number,
        window_place as place,
        experts
    from tokens
    union all
    select
        run_key,
        layer,
        is_generated,
        true as is_of_sequences,
        1 as size,
        sequence_number,
        0 as window_number,
        place,
        experts
    from tokens
    union all
    (
        select
            run_key,
            layer,
            is_generated,
            is_of_sequences,
            size * 2 as size,
            if(is_of_sequences, sequence_number // 2, sequence_number) as sequence_number,
            window_number,
            if(is_of_sequences, place, place // 2) as place,
            bit_or(experts) as experts
        from batches
        where size < 32
        group by all
        having count(*) = 2
    )
),

counted as (
    select * replace (bit_count(experts) as experts)
    from batches
),

final as (
    select
        run_key,
        layer,
        is_generated,
        is_of_sequences,
        cast(size as smallint) as size,
        count(*) as batches,
        avg(experts) as mean_experts,
        cast(min(experts) as integer) as min_experts,
        cast(max(experts) as integer) as max_experts
    from counted
    group by run_key, layer, is_generated, is_of_sequences, size
)

select * from final
