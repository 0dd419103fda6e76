with events as (
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

sizes as (
    select unnest([1, 2, 4, 8, 16, 32]) as size
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
        layers.num_experts
    from events
    inner join layers on events.run_key = layers.run_key and events.layer = layers.layer
    inner join sequences
        on events.run_key = sequences.run_key and events.sample_id = sequences.sample_id
),

-- a set of experts is a string of bits, which merges much faster than ids are told apart
encoded as (
    select
        * replace (
            list_aggregate(
                list_transform(
                    experts,
                    lambda expert: set_bit(cast(repeat('0', num_experts) as bit), expert, 1)
                ),
                'bit_or'
            ) as experts
        )
    from placed
),

batched as (
    select
        encoded.run_key,
        encoded.layer,
        encoded.is_generated,
        false as is_of_sequences,
        sizes.size,
        encoded.sequence_number,
        encoded.window_number,
        (encoded.position - greatest(encoded.window_position, encoded.phase_position)) // sizes.size
            as place,
        encoded.experts
    from encoded
    cross join sizes
    union all by name
    select
        encoded.run_key,
        encoded.layer,
        encoded.is_generated,
        true as is_of_sequences,
        sizes.size,
        encoded.sequence_number // sizes.size as sequence_number,
        0 as window_number,
        encoded.position - encoded.phase_position as place,
        encoded.experts
    from encoded
    cross join sizes
),

-- what remains at the end is smaller than a batch
batches as (
    select
        run_key,
        layer,
        is_generated,
        is_of_sequences,
        size,
        bit_count(bit_or(experts)) as experts
    from batched
    group by
        run_key,
        layer,
        is_generated,
        is_of_sequences,
        size,
        sequence_number,
        window_number,
        place
    having count(*) = size
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
    from batches
    group by run_key, layer, is_generated, is_of_sequences, size
)

select * from final
