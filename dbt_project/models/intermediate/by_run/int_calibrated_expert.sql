with events as (
    select * from {{ ref('stg_new_run_events') }}
    where layer = {{ this_layer() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

numbered_samples as (
    select
        {{ run_key('run_id') }} as run_key,
        sample_id,
        domain,
        split,
        tokens,
        row_number() over (partition by run_id order by sample_id) as sample_number,
        dense_rank() over (partition by run_id order by document_sha256) as document_number,
        {{ load_window() }} as load_window
    from samples
),

choices as (
    select
        run_key,
        layer,
        sample_id,
        unnest(experts) as expert,
        unnest(weights) as weight
    from events
),

counted as (
    select
        run_key,
        layer,
        sample_id,
        expert,
        count(*) as selections,
        sum(cast(weight as double)) as gate_mass
    from choices
    group by run_key, layer, sample_id, expert
),

accumulated as (
    select
        counted.*,
        numbered_samples.sample_number,
        numbered_samples.document_number,
        numbered_samples.domain,
        numbered_samples.load_window,
        numbered_samples.split,
        sum(counted.selections) over (
            partition by counted.run_key, counted.layer, counted.expert
            order by numbered_samples.sample_number
        ) as selections_so_far
    from counted
    inner join numbered_samples
        on
            counted.run_key = numbered_samples.run_key
            and counted.sample_id = numbered_samples.sample_id
),

-- the part of a document in a domain, which is all of it unless its samples are of several
parts_of_documents as (
    select
        run_key,
        domain,
        document_number,
        sum(tokens) as tokens
    from numbered_samples
    group by run_key, domain, document_number
),

part_selections as (
    select
        run_key,
        layer,
        expert,
        domain,
        document_number,
        sum(selections) as selections
    from accumulated
    group by run_key, layer, expert, domain, document_number
),

sums_of_parts as (
    select
        part_selections.run_key,
        part_selections.layer,
        part_selections.expert,
        cast(sum(part_selections.selections * part_selections.selections) as double)
            as squared_selections,
        cast(sum(part_selections.selections * parts_of_documents.tokens) as double)
            as selections_by_tokens
    from part_selections
    inner join parts_of_documents
        on
            part_selections.run_key = parts_of_documents.run_key
            and part_selections.domain = parts_of_documents.domain
            and part_selections.document_number = parts_of_documents.document_number
    group by part_selections.run_key, part_selections.layer, part_selections.expert
),

windowed as (
    select
        run_key,
        layer,
        expert,
        load_window,
        split,
        cast(sum(selections) as bigint) as selections,
        sum(gate_mass) as gate_mass
    from accumulated
    group by run_key, layer, expert, load_window, split
),

listed as (
    select
        run_key,
        layer,
        expert,
        list(
            struct_pack(
                load_window := load_window,
                split := split,
                selections := selections,
                gate_mass := gate_mass
            )
            order by load_window, split
        ) as windows
    from windowed
    group by run_key, layer, expert
),

calibrated as (
    select
        run_key,
        layer,
        expert,
        cast(sum(selections) as bigint) as selections,
        count(*) as samples,
        count(distinct document_number) as documents,
        min(sample_id) as first_sample_id,
        min(sample_number) filter (where selections_so_far >= 1)
            as samples_until_1_token,
        min(sample_number) filter (where selections_so_far >= 10)
            as samples_until_10_tokens,
        min(sample_number) filter (where selections_so_far >= 100)
            as samples_until_100_tokens,
        min(sample_number) filter (where selections_so_far >= 1000)
            as samples_until_1000_tokens
    from accumulated
    group by run_key, layer, expert
),

final as (
    select
        calibrated.*,
        sums_of_parts.squared_selections,
        sums_of_parts.selections_by_tokens,
        listed.windows
    from calibrated
    inner join sums_of_parts
        on
            calibrated.run_key = sums_of_parts.run_key
            and calibrated.layer = sums_of_parts.layer
            and calibrated.expert = sums_of_parts.expert
    inner join listed
        on
            calibrated.run_key = listed.run_key
            and calibrated.layer = listed.layer
            and calibrated.expert = listed.expert
)

select * from final
