with shares as (
    select * from {{ ref('fct_fast_path_shares') }}
    where {{ of_new_runs() }}
),

agreement as (
    select * from {{ ref('fct_fast_path_agreement') }}
    where {{ of_new_runs() }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

held_out as (
    select
        run_id,
        coalesce(sum(tokens) filter (where split <> 'train'), 0) as tokens
    from samples
    group by run_id
),

-- the table of every token, unless the train split has more than the largest size holds
whole_tables as (
    select * from agreement
    where table_tokens < table_size
    qualify row_number() over (partition by run_id, layer order by table_size) = 1
),

neighbours as (
    select
        shares.*,
        held_out.tokens as held_out_tokens,
        whole_tables.table_tokens as all_tokens,
        whole_tables.covered_occurrences as all_covered,
        whole_tables.set_agreement as whole_set_agreement,
        whole_tables.retained_gate_mass as whole_gate_mass,
        lag(shares.covered_occurrences, 1, 0) over by_share as stricter_share_covers,
        lag(shares.covered_occurrences, 1, 0) over by_frequency as stricter_frequency_covers,
        lag(shares.table_tokens, 1, 0) over by_share as stricter_share_holds,
        lag(shares.table_tokens, 1, 0) over by_frequency as stricter_frequency_holds
    from shares
    left join held_out on shares.run_id = held_out.run_id
    left join whole_tables
        on
            shares.run_id = whole_tables.run_id
            and shares.layer = whole_tables.layer
            and shares.min_share = 0
            and shares.min_frequency = 1
    window
        by_share as (
            partition by shares.run_id, shares.layer, shares.min_frequency
            order by shares.min_share desc
        ),
        by_frequency as (
            partition by shares.run_id, shares.layer, shares.min_share
            order by shares.min_frequency desc
        )
),

final as (
    select * from neighbours
    where
        (
            held_out_occurrences = held_out_tokens
            and covered_occurrences >= stricter_share_covers
            and covered_occurrences >= stricter_frequency_covers
            and table_tokens >= stricter_share_holds
            and table_tokens >= stricter_frequency_holds
            and (
                all_tokens is null
                or (
                    table_tokens = all_tokens
                    and covered_occurrences = all_covered
                    and set_agreement is not distinct from whole_set_agreement
                    and coalesce(abs(retained_gate_mass - whole_gate_mass), 0) <= 1e-9
                )
            )
        ) is not true
)

select * from final
